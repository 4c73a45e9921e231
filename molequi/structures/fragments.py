"""Molecules that are not bonded to each other, set side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Å between the outermost nuclei of molecules side by side: just outside van der Waals radii.
GAP = 3.0
# Å; hydrogen bonds are longer, and below it a force field has merged two molecules.
SHORTEST_CONTACT = 1.5


def in_a_row(places: Sequence[np.ndarray], members: Sequence[Sequence[int]]) -> np.ndarray:
    """Set fragments along x with a gap between their outermost nuclei; returns (N, 3), Å."""
    positions = np.zeros((sum(map(len, members)), 3))
    end = 0.0
    for geometry, atoms in zip(places, members, strict=True):
        centred = geometry - geometry.mean(axis=0)
        centred[:, 0] += end - centred[:, 0].min()
        end = centred[:, 0].max() + GAP
        positions[list(atoms)] = centred
    return positions


def closest(positions: np.ndarray, members: Sequence[Sequence[int]]) -> float:
    """Return the smallest distance between atoms of different fragments, Å."""
    fragment = np.empty(len(positions), dtype=np.int64)
    for index, atoms in enumerate(members):
        fragment[list(atoms)] = index
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    return float(distances[fragment[:, None] != fragment[None]].min())
