"""Density fitting in memory: Coulomb and exchange matrices of small molecules on one thread.

(mn|kl) = sum_P B_P,mn B_P,kl, with PySCF's integrals and the auxiliary basis that it pairs with the
orbital basis. The products are large matrix products of numpy's BLAS: several times faster than
those in PySCF's wheels. Atomic units; n basis functions, o occupied orbitals, P auxiliary
functions; symmetric pairs are packed as the lower triangle.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pyscf import df, gto
from scipy.linalg import blas, cholesky, polar

# Pairs of primitives below exp(-30) are skipped, which moves no integral by more than 1e-13; PySCF
# goes on to exp(-60).
_EXPONENT_CUTOFF = 30.0
_BLOCK = 128  # auxiliary functions unpacked at a time in double precision


class Factors(NamedTuple):
    """B in three forms. double: (n (n + 1) / 2, P); single: the same in float32.

    Cube: (n, n, P) in float32.
    """

    double: np.ndarray
    single: np.ndarray
    cube: np.ndarray


class Anchor(NamedTuple):
    """A density whose matrices are known in double precision, to build others from.

    occupied: (n, o); density: (n, n); two_electron: 2J - K; half: sum_m C_mi B_P,mn as (n, o P) in
    float32.
    """

    occupied: np.ndarray
    density: np.ndarray
    two_electron: np.ndarray
    half: np.ndarray


def fitting_factors(mol: Any) -> Factors:
    """Compute B for a built `pyscf.gto.Mole`."""
    auxiliary, mol = df.addons.make_auxmol(mol), mol.copy()
    mol._env[gto.PTR_EXPCUTOFF] = _EXPONENT_CUTOFF
    metric = cholesky(auxiliary.intor("int2c2e"), lower=True, check_finite=False)
    integrals = df.incore.aux_e2(mol, auxiliary, "int3c2e", aosym="s2ij")
    double = np.ascontiguousarray(
        blas.dtrsm(1.0, metric, integrals, side=1, lower=1, trans_a=1, overwrite_b=1)
    )
    single = double.astype(np.float32)
    return Factors(double, single, unpack(single, mol.nao))


def unpack(packed: np.ndarray, n: int) -> np.ndarray:
    """Return packed pairs (n (n + 1) / 2, P) as (n, n, P)."""
    cube = np.empty((n, n, packed.shape[1]), packed.dtype)
    for row in range(n):
        pairs = packed[row * (row + 1) // 2 : (row + 1) * (row + 2) // 2]
        cube[row, : row + 1] = pairs
        cube[:row, row] = pairs[:row]
    return cube


def two_electron_rough(factors: Factors, occupied: np.ndarray) -> np.ndarray:
    """Return 2J - K (n, n) of occupied occupied^T in single precision, about 1e-6 of its size."""
    half = _half(factors.cube, occupied)
    return 2.0 * _coulomb(factors.single, occupied @ occupied.T) - half @ half.T


def anchor(factors: Factors, occupied: np.ndarray) -> Anchor:
    """Compute 2J - K of occupied occupied^T in double precision."""
    n = len(occupied)
    density = occupied @ occupied.T
    exchange = np.zeros((n, n))
    for start in range(0, factors.double.shape[1], _BLOCK):
        half = _half(unpack(factors.double[:, start : start + _BLOCK], n), occupied)
        exchange += half @ half.T
    return Anchor(
        occupied,
        density,
        2.0 * _coulomb(factors.double, density) - exchange,
        _half(factors.cube, occupied),
    )


def two_electron(
    factors: Factors, known: Anchor, occupied: np.ndarray, overlap: np.ndarray
) -> np.ndarray:
    """Return 2J - K (n, n) of occupied occupied^T near an anchor.

    Only the difference is built in single precision: an error of about 1e-7 times the distance of
    the two densities.
    """
    rotation, _ = polar(occupied.T @ overlap @ known.occupied)
    change = _half(factors.cube, occupied @ rotation - known.occupied)
    exchange = (known.half + 0.5 * change) @ change.T
    coulomb = _coulomb(factors.single, occupied @ occupied.T - known.density)
    return known.two_electron + 2.0 * coulomb - (exchange + exchange.T)


def _half(cube: np.ndarray, occupied: np.ndarray) -> np.ndarray:
    n, _, size = cube.shape
    half = (occupied.T.astype(cube.dtype) @ cube.reshape(n, -1)).reshape(-1, n, size)
    return np.ascontiguousarray(half.transpose(1, 0, 2)).reshape(n, -1)


def _coulomb(packed: np.ndarray, density: np.ndarray) -> np.ndarray:
    rows, columns = np.tril_indices(len(density))
    folded = (density[rows, columns] * np.where(rows == columns, 1.0, 2.0)).astype(packed.dtype)
    coulomb = np.empty_like(density)
    coulomb[rows, columns] = coulomb[columns, rows] = packed @ (folded @ packed)
    return coulomb
