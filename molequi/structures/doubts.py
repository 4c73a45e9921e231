"""Coordinates whose size fits another unit than Å."""

from __future__ import annotations

import ase
import numpy as np
from ase import units

# Typical distance of a hydrogen to its nearest atom, Å.
HYDROGEN_BOND = 1.09
_NEAR = 0.15  # of it; bonds to C, N, O and F lie within
_MAX_ATOMS = 200


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
