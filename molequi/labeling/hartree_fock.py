"""Closed-shell Hartree-Fock for thousands of small molecules.

Few allocations, large products, no files.

While the orbitals are rough, the field is built in single precision; then once in double precision,
and from there on only its changes are built in single precision. What comes out is exact to about
1e-10 Ha. Atomic units; n basis functions, o occupied orbitals.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple

import numpy as np
from pyscf import gto, scf
from pyscf.scf import atom_hf

from molequi.labeling.density_fitting import (
    Factors,
    anchor,
    fitting_factors,
    two_electron,
    two_electron_rough,
)
from molequi.labeling.levels import LabelError

# Largest elements of the orbital gradient, orthonormal orbitals: down to which single precision
# serves, and at which the field is converged.
_ROUGH = 1e-3
_TIGHT = 6e-7
_DEPENDENT = 1e-6  # smallest eigenvalue of the overlap, as in PySCF
_MAX_CYCLES = 60
_DIIS = 12


class HartreeFock(NamedTuple):
    """A converged field. energy: Ha; orbitals: (n, m), occupied first; levels: (m,).

    Factors: of its two-electron integrals.
    """

    mol: Any
    energy: float
    orbitals: np.ndarray
    levels: np.ndarray
    factors: Factors

    @property
    def n_occupied(self) -> int:
        """Number of doubly occupied orbitals."""
        return self.mol.nelectron // 2

    @property
    def density(self) -> np.ndarray:
        """Total density matrix (n, n)."""
        occupied = self.orbitals[:, : self.n_occupied]
        return 2.0 * occupied @ occupied.T


def solve(mol: Any) -> HartreeFock:
    """Converge the field of a closed-shell molecule (a built `pyscf.gto.Mole`).

    Raises LabelError where it does not converge.
    """
    n_occupied, factors = mol.nelectron // 2, fitting_factors(mol)
    core = scf.hf.get_hcore(mol)
    overlap = mol.intor_symmetric("int1e_ovlp")
    root = _inverse_root(overlap)
    occupied, known, history = _guess(mol), None, _History()
    for _ in range(_MAX_CYCLES):
        repulsion = (
            two_electron_rough(factors, occupied)
            if known is None
            else two_electron(factors, known, occupied, overlap)
        )
        density, fock = occupied @ occupied.T, core + repulsion
        gradient = root.T @ (fock @ density @ overlap) @ root
        gradient -= gradient.T
        largest = float(np.abs(gradient).max())
        if known is None and largest < _ROUGH:
            known = anchor(factors, occupied)
            fock = core + known.two_electron
        levels, orbitals = np.linalg.eigh(root.T @ history.extrapolate(fock, gradient) @ root)
        if known is not None and largest < _TIGHT:
            # One more step costs nothing: the orbitals are those of the next cycle.
            energy = float(np.vdot(density, core + fock)) + mol.energy_nuc()
            return HartreeFock(mol, energy, root @ orbitals, levels, factors)
        occupied = root @ orbitals[:, :n_occupied]
    raise LabelError(f"the self-consistent field did not converge in {_MAX_CYCLES} cycles")


class _History:
    """The last Fock matrices and their gradients (DIIS, doi:10.1002/jcc.540030413)."""

    def __init__(self) -> None:
        self.pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def extrapolate(self, fock: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Add one and return the combination with the smallest gradient."""
        self.pairs = [*self.pairs, (fock, gradient.ravel())][-_DIIS:]
        gradients = np.stack([gradient for _, gradient in self.pairs])
        size = len(gradients)
        scale = np.linalg.norm(gradients, axis=1)
        matrix = np.zeros((size + 1, size + 1))
        matrix[:size, :size] = (gradients / scale[:, None]) @ (gradients / scale[:, None]).T
        matrix[size, :size] = matrix[:size, size] = 1.0 / scale * scale.min()
        weights = (
            np.linalg.lstsq(matrix, np.eye(size + 1)[size], rcond=1e-13)[0][:size]
            / scale
            * scale.min()
        )
        return np.tensordot(weights, np.stack([fock for fock, _ in self.pairs]), axes=1)


def _inverse_root(overlap: np.ndarray) -> np.ndarray:
    """Return X (n, m) with X^T S X = 1.

    Combinations of basis functions that all but vanish are left out.
    """
    weights, vectors = np.linalg.eigh(overlap)
    kept = weights > _DEPENDENT
    return vectors[:, kept] / np.sqrt(weights[kept])


def _guess(mol: Any) -> np.ndarray:
    """Superpose the densities of spherical atoms; returns their root (n, m)."""
    occupied = np.zeros((mol.nao, mol.nao))
    for atom, (_, _, start, stop) in enumerate(mol.aoslice_by_atom()):
        symbol = mol.atom_symbol(atom)
        occupied[start:stop, start:stop] = _atom_orbitals(symbol, mol.basis, symbol in mol.ecp)
    return occupied[:, np.abs(occupied).max(axis=0) > 0]


@functools.lru_cache(maxsize=256)
def _atom_orbitals(symbol: str, basis: str, has_core: bool) -> np.ndarray:
    """Return the spherical atom's orbitals times the root of half their occupation (n, n)."""
    atom = gto.M(
        atom=symbol, basis=basis, ecp={symbol: basis} if has_core else {}, spin=None, verbose=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own deprecated functions
        _, _, orbitals, occupations = atom_hf.get_atm_nrhf(atom)[symbol]
    return orbitals * np.sqrt(0.5 * occupations)
