"""Frames made of what a reader has: of tensors, or of other frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames, target_or_nan
from molequi.datasets.offsets import offsets_of
from molequi.errors import UserError
from molequi.properties import Property

# What is joined as it is.
_JOINED = ("positions", "atomic_numbers", "cell", "pbc", "total_charge", "spin_multiplicity")


class Periodicity(NamedTuple):
    """cell: (B, 3, 3), Å. pbc: (B, 3), bool."""

    cell: Tensor
    pbc: Tensor


class Electrons(NamedTuple):
    """total_charge: (B,), e. spin_multiplicity: (B,)."""

    total_charge: Tensor
    spin_multiplicity: Tensor


def make_frames(
    positions: Tensor,
    atomic_numbers: Tensor,
    n_atoms: Tensor,
    *,
    periodic: Periodicity | None = None,
    electrons: Electrons | None = None,
    targets: Mapping[str, Tensor] | None = None,
    properties: Mapping[str, Property] | None = None,
    source: Sequence[str] = (),
) -> Frames:
    """Complete the given tensors to Frames; shapes and units as in `Frames`, `n_atoms` (B,).

    periodic: without it the structures are open. electrons: without it charge 0, multiplicity 1.
    """
    _check_finite(positions)
    counts = _checked_counts(n_atoms)
    n_frames = len(counts)
    cell, pbc = periodic or (
        torch.zeros(n_frames, 3, 3),
        torch.zeros(n_frames, 3, dtype=torch.bool),
    )
    charge, multiplicity = electrons or (torch.zeros(n_frames), torch.ones(n_frames))
    return Frames(
        positions=positions.to(torch.float64),
        atomic_numbers=atomic_numbers.to(torch.int64),
        offsets=offsets_of(counts),
        cell=cell.to(torch.float64),
        pbc=pbc.to(torch.bool),
        total_charge=charge.to(torch.int64),
        spin_multiplicity=multiplicity.to(torch.int64),
        targets={name: values.to(torch.float64) for name, values in (targets or {}).items()},
        properties=dict(properties or {}),
        source=tuple(source),
    )


def _check_finite(positions: Tensor) -> None:
    bad = (~torch.isfinite(positions).all(dim=1)).nonzero()[:, 0].tolist()
    if bad:
        where = f"position of atom {bad[0]} of the set"
        raise UserError(f"{where} is not finite; coordinates must be finite numbers in Å")


def _checked_counts(n_atoms: Tensor) -> Tensor:
    counts = n_atoms.to(torch.int64)
    if counts.ndim != 1 or bool((counts < 0).any()):
        raise UserError("frames: the numbers of atoms are no list of numbers from 0")
    return counts


def join_frames(parts: Sequence[Frames]) -> Frames:
    """Join frames; a target that one of them lacks is NaN there.

    Raises UserError for no parts, or where two parts give a property another meaning.
    """
    if not parts:
        raise UserError("there are no frames to join; give at least one set")
    properties = _joined_properties(parts)
    joined = {field: torch.cat([getattr(part, field) for part in parts]) for field in _JOINED}
    targets = {
        name: torch.cat([target_or_nan(part, row) for part in parts])
        for name, row in properties.items()
    }
    offsets = offsets_of(torch.cat([part.n_atoms for part in parts]))
    return Frames(
        **joined,
        offsets=offsets,
        targets=targets,
        properties=properties,
        source=_joined_sources(parts),
    )


def _joined_properties(parts: Iterable[Frames]) -> dict[str, Property]:
    properties: dict[str, Property] = {}
    for part in parts:
        for name, row in part.properties.items():
            if properties.setdefault(name, row) != row:
                raise UserError(
                    f"property {name!r} means {row} in one set and {properties[name]} in another"
                )
    return properties


def _joined_sources(parts: Sequence[Frames]) -> tuple[str, ...]:
    if not any(part.source for part in parts):
        return ()
    return tuple(text for part in parts for text in part.source or ("",) * len(part))
