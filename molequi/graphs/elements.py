"""The elements and their masses. NumPy alone, so that label workers start without torch."""

from __future__ import annotations

import numpy as np
from ase.data import atomic_masses

MAX_NUMBER = 118
# Tables by atomic number have a place 0, which no element has.
N_ELEMENTS = MAX_NUMBER + 1
MASSES: np.ndarray = atomic_masses[:N_ELEMENTS]  # g/mol
# Nearer than this (Å) two nuclei are a mistake in the input, not chemistry: H2 is 0.74 Å long.
COINCIDENT = 0.2


def mass_shares(masses: np.ndarray) -> np.ndarray:
    """Return the part of each atom in the mass of its molecule; masses: (N,)."""
    return np.asarray(masses / masses.sum())


def about_centre_of_mass(positions: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return the positions (N, 3) of one molecule from its centre of mass; masses: (N,).

    Of many molecules at once: `graph.mass_centres`.
    """
    return positions - masses @ positions / masses.sum()
