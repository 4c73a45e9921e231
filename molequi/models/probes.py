"""Fixed structures for measuring physics and for setting up models.

Used by `diagnostics`, `models.making` and `models.reach`. They are a dense chiral cluster (no
symmetry, so that nothing vanishes by accident), an organic molecule, a planar one and a triclinic
cell smaller than usual cutoffs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from molequi.models.structure import Structure

_CLUSTER = [
    [-1.59, 0.41, -0.47],
    [0.17, 1.53, -0.09],
    [-1.22, 0.41, 0.78],
    [-0.01, -0.02, 0.0],
    [0.08, 0.54, 1.67],
    [0.31, -0.88, 1.63],
    [1.46, -0.45, 0.91],
    [1.22, -0.85, -0.47],
    [1.09, 0.46, -1.0],
]

# (R)- or (S)-lactonitrile, MMFF94 geometry.
_ORGANIC = [
    [-1.086, -0.462, -0.161],
    [0.161, 0.291, 0.274],
    [0.303, 1.437, -0.574],
    [1.353, -0.577, 0.212],
    [2.307, -1.238, 0.178],
    [-1.267, -1.338, 0.47],
    [-1.964, 0.191, -0.113],
    [-1.001, -0.8, -1.201],
    [0.024, 0.658, 1.297],
    [1.17, 1.837, -0.38],
]

# Formamide, MMFF94 geometry, in the plane z = 0.
_PLANAR = [
    [-0.691, -0.047, 0.0],
    [0.663, 0.061, 0.0],
    [1.412, -0.903, 0.0],
    [-1.095, -0.974, 0.0],
    [-1.302, 0.757, 0.0],
    [1.013, 1.106, 0.0],
]

_CRYSTAL = [
    [1.74, 0.87, 2.94],
    [2.51, 2.48, 0.37],
    [2.57, 1.71, 2.1],
    [1.52, 2.67, 2.39],
    [2.36, 0.42, 0.95],
]
_CRYSTAL_CELL = [[3.9, 0.0, 0.0], [0.7, 3.4, 0.0], [-0.4, 0.9, 4.2]]


# Water, R. L. Cook, F. C. De Lucia, P. Helminger, J. Mol. Spectrosc. 53 (1974) 62.
_WATER = [[0.0, 0.0, 0.0], [0.9586, 0.0, 0.0], [-0.2400, 0.9281, 0.0]]

# A lattice without symmetry, as dense as molecules are at their bonds: products of many messages
# must not grow beyond what they are here.
_LATTICE = np.array([[1.4, 0.0, 0.0], [0.3, 1.35, 0.0], [-0.2, 0.35, 1.45]])


def built_in_probes(
    elements: Sequence[int], *, total_charge: int = 0, spin_multiplicity: int = 1
) -> list[Structure]:
    """Return the fixed probes; an element outside `elements` is replaced by one of them in turn."""
    cycle = np.resize(np.array(sorted(elements)), 16)

    def probe(
        name: str,
        positions: list[list[float]],
        numbers: Sequence[int],
        cell: list[list[float]] | None = None,
    ) -> Structure:
        known = _known(numbers, elements)
        return Structure(
            name,
            np.array(positions),
            np.array(known, dtype=np.int64),
            np.zeros((3, 3)) if cell is None else np.array(cell),
            np.full(3, cell is not None),
            total_charge,
            spin_multiplicity,
        )

    return [
        probe("dense chiral cluster", _CLUSTER, cycle[:9].tolist()),
        probe("lactonitrile", _ORGANIC, [6, 6, 8, 6, 7, 1, 1, 1, 1, 1]),
        probe("formamide, planar", _PLANAR, [7, 6, 8, 1, 1, 1]),
        probe("triclinic cell of 5 atoms", _CRYSTAL, cycle[:5].tolist(), _CRYSTAL_CELL),
    ]


# Seeds of clusters without any symmetry of their own; the copies that an improper rotation makes of
# them have that symmetry and no mirror plane.
_SEEDS = [[1.1, 0.35, 0.45], [1.9, -0.45, 0.85], [0.55, 1.65, 1.3]]
_S4 = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])


def achiral_probes(
    elements: Sequence[int], *, total_charge: int = 0, spin_multiplicity: int = 1
) -> list[tuple[Structure, np.ndarray]]:
    """Return structures with an improper symmetry and its matrix (3, 3) about the origin.

    One has a mirror plane, one an inversion centre alone as meso compounds have in their staggered
    form, one a fourfold improper axis alone.
    """
    cycle, seeds = np.resize(np.array(sorted(elements)), len(_SEEDS)), np.array(_SEEDS)
    planar = np.array(_known([7, 6, 8, 1, 1, 1], elements))

    def copies(name: str, matrix: np.ndarray, order: int) -> Structure:
        positions = np.concatenate(
            [seeds @ np.linalg.matrix_power(matrix, k).T for k in range(order)]
        )
        return Structure(
            name,
            positions,
            np.tile(cycle, order),
            total_charge=total_charge,
            spin_multiplicity=spin_multiplicity,
        )

    flat = Structure(
        "formamide, planar",
        np.array(_PLANAR),
        planar,
        total_charge=total_charge,
        spin_multiplicity=spin_multiplicity,
    )
    return [
        (flat, np.diag([1.0, 1.0, -1.0])),
        (copies("cluster with an inversion centre", -np.eye(3), 2), -np.eye(3)),
        (copies("cluster with an S4 axis", _S4, 4), _S4),
    ]


def calibration_structures(elements: Sequence[int]) -> list[Structure]:
    """Return the built-in probes, a very small molecule and a dense cluster that has every element.

    What a new model may well be used for.
    """
    n_atoms = max(27, len(elements))
    side = np.arange(-3, 4) + 0.1
    lattice = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3) @ _LATTICE
    nearest = lattice[np.argsort(np.linalg.norm(lattice, axis=1), kind="stable")[:n_atoms]]
    cluster = Structure(
        "dense cluster of every element", nearest, np.resize(np.array(sorted(elements)), n_atoms)
    )
    water = Structure("water", np.array(_WATER), np.array(_known([8, 1, 1], elements)))
    return [*built_in_probes(elements), water, cluster]


def _known(numbers: Sequence[int], elements: Sequence[int]) -> list[int]:
    """Replace what is not in `elements` by one of them in turn."""
    cycle = np.resize(np.array(sorted(elements)), len(numbers))
    return [z if z in elements else int(cycle[k]) for k, z in enumerate(numbers)]


# The fixed atoms lie on a sphere around the first dragged one (y and z in Å), so that all of them
# cross the cutoff together.
_ON_SPHERE = [
    [0.0, 0.0],
    [1.1, 0.2],
    [-0.9, 0.8],
    [0.1, -1.2],
    [-1.1, -0.6],
    [0.4, 1.3],
    [1.2, -1.0],
]
_DRAGGED = [[0.0, 0.0, 0.0], [1.1, 0.4, -0.5], [1.0, -0.8, 0.2]]


def at_cutoff(
    elements: Sequence[int], cutoff: float, *, total_charge: int = 0, spin_multiplicity: int = 1
) -> tuple[Structure, np.ndarray]:
    """Return two fragments held together by one atom, and the motion that parts them.

    The atom lies exactly at the cutoff from seven others. The motion, (N, 3), moves the second
    fragment by 1 Å.
    """
    directions = np.array([[-cutoff, y, z] for y, z in _ON_SPHERE])
    fixed = cutoff * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    positions = np.concatenate([fixed, np.array(_DRAGGED)])
    motion = np.zeros_like(positions)
    motion[len(fixed) :, 0] = 1.0
    numbers = np.resize(np.array(sorted(elements)), len(positions))
    structure = Structure(
        "an atom at the cutoff",
        positions,
        numbers,
        total_charge=total_charge,
        spin_multiplicity=spin_multiplicity,
    )
    return structure, motion
