"""Static response of a Hartree-Fock field.

Polarizability and Rosenfeld tensor by one direct solution.

With A ± B the orbital Hessians, r the dipole operator and l = r x nabla between occupied and
virtual orbitals,

  (A + B) u = r,  (A - B) w = l,  alpha = 4 u·r,  beta = -2 u·w

(length gauge, conventions of Ruud et al., Chem. Phys. Lett. 373 (2003) 606). Up to ten heavy atoms
in a small basis, two Cholesky factorizations are several times quicker than iterations. Single
precision is good for 1e-6 of the tensors' norms. Atomic units; o occupied and v virtual orbitals, P
auxiliary functions; pairs (i, a) are numbered i v + a.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from molequi.labeling.hartree_fock import HartreeFock
from molequi.labeling.levels import LabelError, ResponseTensors


def static_response(field: HartreeFock) -> ResponseTensors:
    """Return the polarizability and the Rosenfeld tensor.

    The origin of both operators is that of the
    coordinates. Raises LabelError where the field is no minimum.
    """
    occupied, virtual = field.orbitals[:, : field.n_occupied], field.orbitals[:, field.n_occupied :]
    electric = (
        (virtual.T @ field.mol.intor_symmetric("int1e_r", comp=3) @ occupied)
        .transpose(0, 2, 1)
        .reshape(3, -1)
    )
    magnetic = (
        (virtual.T @ field.mol.intor("int1e_cg_irxp", comp=3, hermi=2) @ occupied)
        .transpose(0, 2, 1)
        .reshape(3, -1)
    )
    plus, minus = orbital_hessians(field)
    u = _solve(plus, electric)
    w = _solve(minus, magnetic)
    alpha = 4.0 * u @ electric.T
    return ResponseTensors(0.5 * (alpha + alpha.T), -2.0 * u @ w.T)


class Hessians(NamedTuple):
    """A + B and A - B, (o v, o v) both."""

    plus: np.ndarray
    minus: np.ndarray


def orbital_hessians(field: HartreeFock) -> Hessians:
    """Return A + B and A - B, (o v, o v) in float32, by their lower triangles.

    Above the diagonal stand other numbers, finite ones, that belong to neither matrix.
    """
    mixed, virtual_pairs, occupied_pairs = _orbital_factors(field)
    o, v = mixed.shape[:2]
    flat = mixed.reshape(o * v, -1)
    plus = flat @ flat.T  # (ia|jb), turned into A + B block by block
    minus = np.zeros(plus.shape, plus.dtype)  # blocks above the diagonal are never written
    direct = occupied_pairs @ virtual_pairs.T  # (ij|ab), i >= j, a >= b
    place = _places(v).ravel()
    for i in range(o):
        block = plus.reshape(o, v, o, v)[i, :, : i + 1]
        crossed = block.transpose(2, 1, 0).copy()  # (ib|ja) as [a, j, b]
        first = i * (i + 1) // 2
        exchange = (
            np.take(direct[first : first + i + 1], place, axis=1)
            .reshape(i + 1, v, v)
            .transpose(1, 0, 2)
        )
        minus.reshape(o, v, o, v)[i, :, : i + 1] = crossed - exchange
        block *= 4.0
        block -= crossed
        block -= exchange
    gaps = (field.levels[None, o:] - field.levels[:o, None]).ravel()
    for matrix in (plus, minus):
        matrix[np.diag_indices(o * v)] += gaps
    return Hessians(plus, minus)


class _Factors(NamedTuple):
    """B_P,ia (o, v, P) and, packed as lower triangles, B_P,ab and B_P,ij.

    (v (v + 1) / 2, P) and (o (o + 1) / 2, P).
    """

    mixed: np.ndarray
    virtual_pairs: np.ndarray
    occupied_pairs: np.ndarray


def _orbital_factors(field: HartreeFock) -> _Factors:
    o, n = field.n_occupied, len(field.orbitals)
    orbitals = np.ascontiguousarray(field.orbitals.T, dtype=np.float32)
    half = (orbitals @ field.factors.cube.reshape(n, -1)).reshape(len(orbitals), n, -1)
    mixed = orbitals[o:] @ half[:o]
    return _Factors(mixed, _pairs(orbitals[o:], half[o:]), _pairs(orbitals[:o], half[:o]))


def _pairs(orbitals: np.ndarray, half: np.ndarray) -> np.ndarray:
    size = len(orbitals)
    pairs = np.empty((size * (size + 1) // 2, half.shape[2]), np.float32)
    for p in range(size):
        np.matmul(orbitals[: p + 1], half[p], out=pairs[p * (p + 1) // 2 : (p + 1) * (p + 2) // 2])
    return pairs


def _places(size: int) -> np.ndarray:
    """Return where each pair (a, b) stands in a packed lower triangle: (size, size)."""
    rows, columns = np.tril_indices(size)
    places = np.empty((size, size), dtype=np.intp)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return places


def _solve(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Solve matrix x = row for each row.

    The matrix is symmetric, given by its lower triangle, and overwritten.
    """
    # The transpose is what LAPACK calls Fortran order; there the lower triangle is the upper one.
    factor, info = lapack.spotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
    if info:
        raise LabelError(
            "the Hartree-Fock field is no minimum (its orbital Hessian is not positive): it has no "
            "static response"
        )
    return lapack.spotrs(factor, rows.T, lower=0)[0].T.astype(np.float64)
