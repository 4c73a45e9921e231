"""Structures of different sizes, one after the other: which rows of a flat tensor are whose."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.errors import UserError


class AtomRows(NamedTuple):
    """rows: the atoms of some structures, one after the other. counts: atoms of each."""

    rows: Tensor
    counts: Tensor


def offsets_of(counts: Tensor) -> Tensor:
    """Turn the atom counts (B,) into offsets (B + 1,)."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def as_indices(indices: Tensor, n_structures: int) -> Tensor:
    """Return the places of `indices`, int64 or a bool mask, as int64.

    Raises UserError for a place where no structure is.
    """
    indices = torch.as_tensor(indices)
    if indices.dtype == torch.bool:
        indices = torch.nonzero(indices)[:, 0]
    indices = indices.to(torch.int64).reshape(-1)
    outside = indices[(indices < 0) | (indices >= n_structures)].tolist()
    if outside:
        raise UserError(
            f"structure {outside[0]} is not in the data; it has {n_structures} structures"
        )
    return indices


def atom_rows(offsets: Tensor, indices: Tensor) -> AtomRows:
    """Return the rows of the atoms of the structures `indices`, in that order."""
    first = offsets[indices]
    counts = offsets[indices + 1] - first
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    rows = torch.arange(total) + torch.repeat_interleave(
        first - ends + counts, counts, output_size=total
    )
    return AtomRows(rows, counts)
