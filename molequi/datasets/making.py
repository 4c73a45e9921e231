"""Frames made of what a reader has: of tensors, or of other frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.in_memory import LARGEST_LABEL, Frames, target_or_nan
from molequi.datasets.offsets import offsets_of
from molequi.errors import UserError
from molequi.graphs.cells import FARTHEST
from molequi.properties import Property

_AT_ONCE = 1 << 20  # rows that are looked at together
_EXACT = 1 << 53  # beyond it float64 leaves whole numbers out
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
    Raises UserError for numbers that no structure or label has, as those of a damaged file.
    """
    counts = _checked_counts(n_atoms)
    n_frames = len(counts)
    cell, pbc = periodic or (
        torch.zeros(n_frames, 3, 3),
        torch.zeros(n_frames, 3, dtype=torch.bool),
    )
    charge, multiplicity = electrons or (torch.zeros(n_frames), torch.ones(n_frames))
    frames = Frames(
        positions=_real(positions, "positions"),
        atomic_numbers=_whole(atomic_numbers, "atomic numbers"),
        offsets=offsets_of(counts),
        cell=_real(cell, "cells"),
        pbc=pbc.to(torch.bool),
        total_charge=_whole(charge, "charges"),
        spin_multiplicity=_whole(multiplicity, "multiplicities"),
        targets={name: _real(values, name) for name, values in (targets or {}).items()},
        properties=dict(properties or {}),
        source=tuple(source),
    )
    _refuse_impossible(frames)
    return frames


def _refuse_impossible(frames: Frames) -> None:
    """Refuse coordinates and cells beyond a centimetre, and labels beyond all units."""
    atom = _first_row(frames.positions, lambda rows: ~(rows.abs() < FARTHEST))
    if atom is not None:
        place = frames.positions[atom]
        found = f"{place.tolist()} Å, more than a centimetre from the origin"
        if not bool(torch.isfinite(place).all()):
            found = "not finite"
        raise UserError(
            f"position of atom {atom} of the set is {found}; coordinates must be finite numbers in "
            "Å"
        )
    cell = _first_row(frames.cell, lambda rows: ~(rows.abs() < FARTHEST))
    if cell is not None:
        raise UserError(
            f"the cell of {frames.label(cell)} is {frames.cell[cell].tolist()}; cell vectors must "
            "be finite, in Å"
        )
    for name, values in frames.targets.items():
        row = _first_row(values, lambda rows: rows.abs() > LARGEST_LABEL)
        if row is not None:
            found = f"{name} of atom {row} of the set"
            if not frames.properties[name].per_atom:
                found = f"{name} of {frames.label(row)}"
            raise UserError(
                f"{found} is {values[row].tolist()}, which no label is; remove the structure or "
                "mend its label"
            )


def _first_row(values: Tensor, is_bad: Callable[[Tensor], Tensor]) -> int | None:
    """Return the first row with a bad number; in pieces, for a large set may lie on the disk."""
    for first in range(0, len(values), _AT_ONCE):
        rows = values[first : first + _AT_ONCE]
        bad = is_bad(rows).reshape(len(rows), -1).any(dim=1)
        if bool(bad.any()):
            return first + int(bad.nonzero()[0, 0])
    return None


def _real(values: Tensor, what: str) -> Tensor:
    """Return float64 without a gradient, as files and other processes take it.

    Raises UserError for complex numbers, which would lose their other half.
    """
    if values.is_complex():
        raise UserError(f"frames: {what} are complex numbers")
    return values.detach().to(torch.float64)


def _whole(values: Tensor, what: str) -> Tensor:
    """Return int64. Raises UserError for anything but whole numbers."""
    is_whole = values.dtype != torch.bool and not values.is_complex()
    if is_whole and values.is_floating_point():
        is_whole = bool(((values == values.round()) & (values.abs() < _EXACT)).all())
    if not is_whole:
        raise UserError(f"frames: {what} are no whole numbers")
    return values.detach().to(torch.int64)


def _checked_counts(n_atoms: Tensor) -> Tensor:
    counts = _whole(n_atoms, "numbers of atoms")
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
