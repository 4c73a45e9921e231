"""Structures that look unlike what was meant: another unit than Å, missing hydrogens."""

from __future__ import annotations

import ase
import numpy as np
from ase import units
from scipy.spatial import cKDTree

# Typical distance of a hydrogen to its nearest atom, Å.
HYDROGEN_BOND = 1.09
_NEAR = 0.15  # of it; bonds to C, N, O and F lie within
_MAX_ATOMS = 200
_BONDED_TO_CARBON = 2.0  # Å; C-Br is 1.94 Å long
_TRIPLE = 1.25  # Å; C-C is 1.20 Å in acetylene, C=C 1.34 Å in ethylene
_IN_LINE = -0.87  # cosine of 150 degrees


def nearest_to_hydrogens(positions: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return the distance of each hydrogen of a molecule to its nearest atom, Å.

    positions: (N, 3), Å. numbers: (N,). None for molecules of over 200 atoms, where it would cost.
    """
    if not 2 <= len(numbers) <= _MAX_ATOMS:
        return np.zeros(0)
    hydrogens = np.flatnonzero(numbers == 1)
    distances = np.linalg.norm(positions[hydrogens, None] - positions[None], axis=-1)
    distances[np.arange(len(hydrogens)), hydrogens] = np.inf
    return distances.min(axis=1, initial=np.inf)


def fits_bohr(distances: np.ndarray) -> bool:
    """Tell whether distances of hydrogens to their nearest atoms are typical of bohr."""
    if len(distances) < 2:
        return False
    return abs(float(np.median(distances)) * units.Bohr / HYDROGEN_BOND - 1) < _NEAR


def doubts_of(atoms: ase.Atoms) -> list[str]:
    """Return a line for each doubt about a structure."""
    return [doubt for doubt in (doubtful_units(atoms), missing_hydrogens(atoms)) if doubt]


def missing_hydrogens(atoms: ase.Atoms) -> str | None:
    """Return a line of doubt where a molecule without hydrogens has carbons with open valences.

    Such a carbon has one neighbour at more than the length of a triple bond to carbon, or two that
    are not in line with it: fullerenes, cyanogen, carbon oxides and perhalogenated molecules have
    none.
    """
    if atoms.pbc.any() or (atoms.numbers == 1).any() or not (atoms.numbers == 6).any():
        return None
    positions = atoms.positions
    neighbours: list[list[int]] = [[] for _ in atoms]
    for i, j in cKDTree(positions).query_pairs(_BONDED_TO_CARBON):
        neighbours[i].append(j)
        neighbours[j].append(i)
    n_open = 0
    for carbon in np.flatnonzero(atoms.numbers == 6):
        to = positions[neighbours[carbon]] - positions[carbon]
        lengths = np.linalg.norm(to, axis=1)
        n_open += len(to) == 1 and lengths[0] > _TRIPLE
        n_open += len(to) == 2 and to[0] @ to[1] > _IN_LINE * lengths.prod()
    if not n_open:
        return None
    return (
        f"the structure has no hydrogens, but {n_open} carbons with open valences: add the "
        "hydrogens if they are missing"
    )


def doubtful_units(atoms: ase.Atoms) -> str | None:
    """Return a line of doubt where the coordinates of a molecule seem to be in bohr or nm."""
    if atoms.pbc.any():
        return None
    distances = nearest_to_hydrogens(atoms.positions, atoms.numbers)
    if fits_bohr(distances):
        return (
            f"hydrogens have their nearest neighbour at {np.median(distances):.2f} Å, which is "
            "typical of bohr; if so convert the coordinates to Å"
        )
    return None
