"""Which atoms meet through which images: of molecules all, of crystals those within a reach."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molequi.kernels import compiled
from molequi.kernels.pair_inputs import Space


def molecules(batch: np.ndarray, n_molecules: int) -> Space:
    """Return the space of molecules, whose atoms meet whatever their distance; batch: (N,)."""
    ends = compiled.pair_setup.last_partners(batch)
    return Space(batch, ends, *_open(n_molecules))


@functools.lru_cache(maxsize=64)
def _open(n: int) -> tuple[np.ndarray, ...]:
    """What molecules share: one image, which is themselves, and no end of their reach."""
    zeros, ones = np.zeros(n, np.int64), np.ones(n, np.int64)
    return np.zeros((1, 3)), zeros, ones, np.full(n, np.inf), np.zeros(n)


def with_crystals(
    batch: np.ndarray, cell: np.ndarray, reach: Sequence[float], widths: Sequence[float]
) -> Space:
    """Return the space of structures of which those with a finite reach (Å) are crystals.

    batch: (N,). cell: (B, 3, 3), Å. widths: 1/Å, of Ewald's splitting.
    """
    shifts, first, last = [np.zeros((1, 3))], [], []
    for own, far in zip(cell, reach, strict=True):
        if np.isfinite(far):
            heights = 1.0 / np.linalg.norm(np.linalg.inv(own), axis=0)
            shifts.append(compiled.pair_setup.images(own, heights, far))
        first.append(sum(map(len, shifts[:-1])))
        last.append(sum(map(len, shifts)))
        if not np.isfinite(far):
            first[-1], last[-1] = 0, 1
    return Space(
        batch,
        compiled.pair_setup.last_partners(batch),
        np.concatenate(shifts),
        np.array(first),
        np.array(last),
        np.array(reach, dtype=np.float64),
        np.array(widths, dtype=np.float64),
    )


def points(positions: Tensor, cell: Tensor, batch: Tensor, is_crystal: Tensor) -> Tensor:
    """Return positions, those of crystals inside their cell, and the rows of every cell.

    (N + 4 B, 3), Å and Å³; see `pair_inputs`. Differentiable.
    """
    whole = torch.where(is_crystal[:, None, None], cell, torch.eye(3).to(cell))
    inside = torch.einsum("ni,nij->nj", positions, torch.linalg.inv(whole)[batch]).detach()
    counts = torch.where(is_crystal[batch, None], inside.floor(), 0.0)
    moved = positions - torch.einsum("ni,nij->nj", counts, cell[batch])
    volume = torch.linalg.det(whole).abs()
    rows = torch.cat([cell, volume[:, None, None] * cell.new_tensor([[[1.0, 0.0, 0.0]]])], dim=1)
    return torch.cat([moved, rows.reshape(-1, 3)])
