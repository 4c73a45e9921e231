"""Structures of one part of a split that stand in another: the same, or the same molecule."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from molequi.datasets.contacts import Fingerprints, fingerprints, name_of
from molequi.datasets.in_memory import Frames
from molequi.graphs.elements import N_ELEMENTS

# Sums over pairs agree so far, relatively, where a file has six decimals, and distances so far, Å.
_SAME = 1e-6
_NEAR = 1e-4


def molecules_of(frames: Frames) -> tuple[str, ...]:
    """Name the molecule of each structure by its elements and bonds, for `splits.grouped_split`.

    Conformers, mirror images and frames of a trajectory have one name; a crystal has its own.
    """
    prints = fingerprints(frames)
    return tuple(
        f"crystal {row}" if np.isnan(prints.inverse[row]) else f"{name:016x}"
        for row, name in enumerate(prints.constitution.tolist())
    )


class Shared(NamedTuple):
    """Lines about structures, and about molecules, that another part shares with train."""

    structures: list[str]
    molecules: list[str]


def shared_with_training(frames: Frames, parts: Mapping[str, Tensor]) -> Shared:
    """Tell what each part shares with the training part.

    Structures are the same up to rotation, reflection and the order of atoms, periodic ones where
    cell and coordinates are equal; molecules have the same elements and bonds. A set of one
    molecule shares it of course, and nothing is said.
    """
    prints = fingerprints(frames)
    train = parts["train"].numpy()
    known = _Index(frames, prints, train)
    several = len(np.unique(prints.constitution)) > 1
    shared = Shared([], [])
    for name in ("valid", "test"):
        rows = parts[name].numpy().astype(np.int64)
        twins = [(row, twin) for row in rows if (twin := known.twin_of(row)) is not None]
        if twins:
            row, twin = twins[0]
            shared.structures.append(
                f"{len(twins)} of {len(rows)} structures of {name} stand in train too, up to "
                f"rotation, reflection and order (first {name_of(frames, row)}, as "
                f"{name_of(frames, twin)}): errors on {name} are too small; leave each in once"
            )
        n_known = int(np.isin(prints.constitution[rows], prints.constitution[train]).sum())
        if several and n_known > len(twins):
            shared.molecules.append(
                f"{n_known} of {len(rows)} structures of {name} are molecules that train has too, "
                "in another geometry: errors on them are not those on new molecules; "
                "data.split.kind=molecules keeps each in one part"
            )
    return shared


class _Index:
    """Structures sorted by formula and sum over pairs, to find those of another part in them."""

    def __init__(self, frames: Frames, prints: Fingerprints, rows: np.ndarray) -> None:
        is_periodic = np.isnan(prints.inverse[rows])
        # Of several the first stays.
        self._periodic = {_written(frames, int(row)): int(row) for row in rows[is_periodic][::-1]}
        rows = rows[~is_periodic]
        self._frames, self._prints = frames, prints
        self._rows = rows[np.lexsort((prints.inverse[rows], prints.formula[rows]))]
        self._formulas = prints.formula[self._rows]
        self._sums = prints.inverse[self._rows]

    def twin_of(self, row: int) -> int | None:
        """Return the first row here that is the same structure, or None."""
        prints, found = self._prints, self._prints.inverse[row]
        if np.isnan(found):
            return self._periodic.get(_written(self._frames, row))
        start = self._formulas.searchsorted(prints.formula[row], "left")
        stop = self._formulas.searchsorted(prints.formula[row], "right")
        margin = _SAME * abs(found)
        first = start + self._sums[start:stop].searchsorted(found - margin, "left")
        last = start + self._sums[start:stop].searchsorted(found + margin, "right")
        near = self._rows[first:last]
        near = near[np.isclose(prints.direct[near], prints.direct[row], rtol=_SAME, atol=0.0)]
        return next((int(other) for other in near if self._is_same(row, int(other))), None)

    def _is_same(self, row: int, other: int) -> bool:
        frames = self._frames
        for states in (frames.total_charge, frames.spin_multiplicity):
            if states[row] != states[other]:
                return False
        mine, theirs = (_distances(frames, index) for index in (row, other))
        return np.array_equal(mine[0], theirs[0]) and np.allclose(mine[1], theirs[1], atol=_NEAR)


def _written(frames: Frames, row: int) -> bytes:
    """Return a hash of everything that a structure is, as it stands in the file."""
    atoms = slice(int(frames.offsets[row]), int(frames.offsets[row + 1]))
    parts = (
        *(frames.atomic_numbers[atoms], frames.positions[atoms], frames.cell[row], frames.pbc[row]),
        *(frames.total_charge[row], frames.spin_multiplicity[row]),
    )
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        whole.update((part.numpy() + 0).tobytes())  # -0.0 is 0.0
    return whole.digest()


def _distances(frames: Frames, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the elements of all pairs of atoms and their distances (Å), in a fixed order."""
    atoms = slice(int(frames.offsets[row]), int(frames.offsets[row + 1]))
    numbers, positions = frames.atomic_numbers[atoms].numpy(), frames.positions[atoms].numpy()
    first, second = np.triu_indices(len(numbers), 1)
    pair = np.sort(np.stack([numbers[first], numbers[second]]), axis=0).astype(np.int64)
    kinds = pair[0] * N_ELEMENTS + pair[1]
    lengths = np.linalg.norm(positions[first] - positions[second], axis=1)
    order = np.lexsort((lengths, kinds))
    return kinds[order], lengths[order]
