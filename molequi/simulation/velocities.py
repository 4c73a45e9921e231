"""First velocities, and the degrees of freedom that a temperature is counted over."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units

# Of the largest moment of inertia: below, a molecule is a straight line.
_STRAIGHT = 1e-6
# Of the angular momenta of the atoms, if all of them moved at right angles to their arms.
_ROUNDING = 1e-4


def thermal_momenta(
    atoms: Atoms, kelvin: float, random: np.random.Generator, *, is_free: bool
) -> np.ndarray:
    """Draw momenta from the Maxwell-Boltzmann distribution: (N, 3), in ASE's unit.

    is_free: take the motion of the whole out, for nothing holds the structure.
    """
    width = np.sqrt(atoms.get_masses()[:, None] * units.kB * kelvin)
    momenta = width * random.standard_normal((len(atoms), 3))
    if is_free:
        momenta = without_drift(atoms, momenta)
        if not atoms.pbc.any():
            momenta = without_spin(atoms, momenta)
    return momenta


def without_drift(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """Return the momenta with the centre of mass at rest."""
    masses = atoms.get_masses()[:, None]
    return momenta - masses * momenta.sum(axis=0) / masses.sum()


def without_spin(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """Return the momenta without the rotation of the whole: v - omega x r, I omega = L."""
    arms = atoms.positions - atoms.get_center_of_mass()
    angular = np.cross(arms, momenta).sum(axis=0)
    # A straight molecule has no inertia around itself, and no rotation there either.
    omega = np.linalg.pinv(_inertia(atoms), rcond=_STRAIGHT, hermitian=True) @ angular
    return momenta - atoms.get_masses()[:, None] * np.cross(omega, arms)


def angular_momentum(atoms: Atoms, momenta: np.ndarray) -> np.ndarray:
    """Return the angular momentum around the centre of mass: (3,), Å times ASE's momentum."""
    return np.cross(atoms.positions - atoms.get_center_of_mass(), momenta).sum(axis=0)


def n_of_whole(atoms: Atoms, *, spins: bool) -> int:
    """Return how many degrees of freedom the motion of a free structure as a whole has.

    spins: whether its rotation takes part in the dynamics, so that it counts as any other motion.
    Without it the angular momentum stays zero, which is three conditions, of a straight molecule
    too: its atoms leave the line in one plane alone. Two atoms have two.
    """
    if len(atoms) < 2:
        return 0  # there is nothing else to move
    if spins or atoms.pbc.any():
        return 3
    return 5 if len(atoms) == 2 else 6


def turns(atoms: Atoms) -> bool:
    """Tell whether a structure turns as a whole, by more than what rounding leaves in a file."""
    arms, momenta = atoms.positions - atoms.get_center_of_mass(), atoms.get_momenta()
    # Not those that they have: of a straight molecule that vibrates they are rounding themselves.
    most = (np.linalg.norm(arms, axis=1) * np.linalg.norm(momenta, axis=1)).sum()
    return bool(np.linalg.norm(angular_momentum(atoms, momenta)) > _ROUNDING * most)


def _inertia(atoms: Atoms) -> np.ndarray:
    """Return the tensor of inertia: (3, 3), g/mol Å²."""
    arms, masses = atoms.positions - atoms.get_center_of_mass(), atoms.get_masses()
    squares = np.einsum("i,ij,ij->", masses, arms, arms)
    return squares * np.eye(3) - np.einsum("i,ij,ik->jk", masses, arms, arms)
