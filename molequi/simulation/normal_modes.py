"""Normal modes of a Hessian, with translations and rotations taken out.

With masses m, Hessian H and the orthonormal basis P of all mass-weighted motions that are no
translation or rotation of the whole,

    P^T m^-1/2 H m^-1/2 P w = omega^2 w,    Q-direction v = P w.

(E. B. Wilson, J. C. Decius, P. C. Cross, Molecular Vibrations, 1955, chapter 2.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms, units

from molequi.graphs.elements import about_centre_of_mass
from molequi.simulation.calculator import Calculator

# omega^2 in eV/(Å² amu) to wavenumbers, cm^-1: hbar omega in ASE's units over one wavenumber.
_WAVENUMBER = units._hbar * units.J * units.second / units.invcm
# Atoms nearer than this (Å) to one line make a linear molecule: relaxed geometries are straight to
# a few thousandths.
_STRAIGHT = 0.02


class NormalModes(NamedTuple):
    """Harmonic modes of one structure, K of them.

    frequencies: (K,), cm^-1, ascending, imaginary ones negative. weighted: (K, N, 3), unit vectors
    in mass-weighted coordinates.
    is_linear: whether there are 3N - 5 of them.
    """

    frequencies: np.ndarray
    weighted: np.ndarray
    is_linear: bool

    @property
    def curvatures(self) -> np.ndarray:
        """The eigenvalues omega^2: (K,), eV/(Å² amu), negative where a mode leads down."""
        scaled = self.frequencies / _WAVENUMBER
        return np.asarray(np.sign(scaled) * scaled**2)


def normal_modes(
    hessian: np.ndarray, masses: np.ndarray, positions: np.ndarray, *, is_periodic: bool = False
) -> NormalModes:
    """Diagonalise a Hessian with translations and, for a molecule, rotations taken out.

    hessian: (3N, 3N), eV/Å². masses: (N,), amu. positions: (N, 3), Å.
    """
    is_linear = not is_periodic and _is_linear(positions, masses)
    n_rigid = 3 if is_periodic or len(masses) == 1 else 5 if is_linear else 6
    # The left singular vectors: first the rigid motions, then an orthonormal basis of everything
    # else.
    basis = np.linalg.svd(
        _rigid_motions(positions, masses, with_rotations=not is_periodic), full_matrices=True
    )[0][:, n_rigid:]
    root = np.repeat(np.sqrt(masses), 3)
    omega_squared, vectors = np.linalg.eigh(basis.T @ (hessian / np.outer(root, root)) @ basis)
    frequencies = np.sign(omega_squared) * np.sqrt(np.abs(omega_squared)) * _WAVENUMBER
    return NormalModes(frequencies, (basis @ vectors).T.reshape(-1, len(masses), 3), is_linear)


def modes_of(atoms: Atoms, calculator: Calculator) -> NormalModes:
    """Return the normal modes of a structure as it stands."""
    return normal_modes(
        calculator.model.hessian(calculator.graph(atoms)).cpu().numpy(),
        atoms.get_masses(),
        atoms.positions,
        is_periodic=bool(atoms.pbc.any()),
    )


def _rigid_motions(
    positions: np.ndarray, masses: np.ndarray, *, with_rotations: bool
) -> np.ndarray:
    """Return translations, and rotations about the centre of mass: (3N, 3 or 6).

    They are the columns, in mass-weighted coordinates.
    """
    root = np.sqrt(masses)[:, None]
    centred = about_centre_of_mass(positions, masses)
    motions = [np.broadcast_to(axis, positions.shape) for axis in np.eye(3)]
    if with_rotations:
        motions += [np.cross(axis, centred) for axis in np.eye(3)]
    return np.stack([(root * motion).ravel() for motion in motions], axis=1)


def _is_linear(positions: np.ndarray, masses: np.ndarray) -> bool:
    if len(masses) < 2:
        return False
    centred = about_centre_of_mass(positions, masses)
    axis = np.linalg.svd(centred)[2][0]
    return bool(np.linalg.norm(centred - np.outer(centred @ axis, axis), axis=1).max() < _STRAIGHT)
