"""Geometries: which are torn or collapsed, and how different two of them are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from molequi.graphs.neighbors import neighbor_pairs
from molequi.simulation.guard import bonds_of

# Of the sum of covalent radii. Dynamics go on a little further (`simulation.guard`); what lies
# between is on its way out of physics, and a label there teaches nothing that is asked later.
_LONGEST, _CLOSEST = 1.6, 0.65
# Of what the structure had at the start, where that is further out.
_MARGIN = 1.05
# Distances of one kind that describe a structure, at most.
_MOST_PAIRS = 300


class _Contact(NamedTuple):
    """The closest contact of a structure, by the sum of covalent radii, and whose it is."""

    ratio: float
    text: str


def unreasonable(atoms: Atoms, start: Atoms) -> str | None:
    """Return what is wrong with the geometry of a structure that began as `start`, or None.

    A bond of the start is torn, or atoms have collapsed.
    """
    radii, bonds = covalent_radii[atoms.numbers], bonds_of(start)
    normal = radii[bonds.pairs].sum(axis=1)
    first, second = bonds.pairs.T
    vectors = atoms.positions[second] - atoms.positions[first] + bonds.shifts @ start.cell.array
    stretch, began = (np.linalg.norm(v, axis=1) / normal for v in (vectors, bonds.vectors))
    torn = np.flatnonzero(stretch > np.maximum(_LONGEST, _MARGIN * began))
    if len(torn):
        worst = torn[stretch[torn].argmax()]
        length = stretch[worst] * normal[worst]
        return f"the bond {_names(atoms, bonds.pairs[worst])} is torn ({length:.2f} Å)"
    nearest = _nearest(atoms)
    if nearest.ratio < min(_CLOSEST, _nearest(start).ratio / _MARGIN):
        return f"the atoms {nearest.text} have collapsed"
    return None


def _nearest(atoms: Atoms) -> _Contact:
    radii = covalent_radii[atoms.numbers]
    (sender, receiver), shifts = neighbor_pairs(
        atoms.positions, 2.0 * float(radii.max(initial=0.1)), cell=atoms.cell.array, pbc=atoms.pbc
    )
    if not len(sender):
        return _Contact(np.inf, "")
    vectors = atoms.positions[sender] - atoms.positions[receiver] + shifts @ atoms.cell.array
    ratios = np.linalg.norm(vectors, axis=1) / (radii[sender] + radii[receiver])
    worst = int(ratios.argmin())
    return _Contact(float(ratios[worst]), _names(atoms, (receiver[worst], sender[worst])))


def _names(atoms: Atoms, pair: Sequence[int] | np.ndarray) -> str:
    return "-".join(f"{chemical_symbols[atoms.numbers[k]]}{k}" for k in sorted(map(int, pair)))


def shape_of(atoms: Atoms) -> np.ndarray:
    """Describe a geometry: (P,), 1/Å, the same for turned, shifted, mirrored, renumbered copies.

    For each pair of elements the inverse distances of its atoms, from the largest down, at most
    300. Structures of one composition have descriptions of one length, whose distance says how
    different they are.
    """
    first, second = np.triu_indices(len(atoms), k=1)
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))[first, second]
    inverse = 1.0 / np.maximum(distances, 1e-3)
    kinds = np.sort(np.stack([atoms.numbers[first], atoms.numbers[second]], axis=1), axis=1)
    parts = [
        np.sort(inverse[(kinds == kind).all(axis=1)])[::-1][:_MOST_PAIRS]
        for kind in np.unique(kinds, axis=0)
    ]
    return np.concatenate([np.zeros(0), *parts])
