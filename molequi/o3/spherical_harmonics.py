"""Real spherical harmonics of unit vectors, up to any l, as one matrix product on monomials."""

from __future__ import annotations

import functools
from math import sqrt
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.o3.clebsch_gordan import wigner_3j
from molequi.runtime.constants import kept_constants


def spherical_harmonics(directions: Tensor, l_max: int) -> Tensor:
    """Return Y_0 ... Y_l_max of unit vectors: (E, 3) -> (E, (l_max + 1)^2).

    Component normalisation: the mean square of each component over the sphere is 1. The basis is
    e3nn's. A zero vector, which has no direction, gives the finite values of the polynomials there.
    """
    if l_max == 0:
        return torch.ones_like(directions[:, :1])
    selections, constants, matrix = _factors(l_max, directions.dtype, directions.device)
    monomials, *others = torch.addmm(constants, directions, selections).chunk(l_max, dim=1)
    for factors in others:
        monomials = monomials * factors
    return monomials @ matrix


def solid_harmonics_along(solid: Tensor, vectors: Tensor) -> Tensor:
    """Return the derivatives v . grad of the solid harmonics |d|^l Y_l(d) along vectors (E, 3).

    (E, (l_max + 1)^2), from the solid harmonics themselves. solid: `spherical_harmonics` of vectors
    of any length. The gradient lowers the degree: grad_i S_lm = (l / k) sum_n C[n, i, m] S_(l-1)n
    with the coupling C of l - 1 and 1 to l, where d . grad S_l = l S_l (Euler) and its value at the
    pole y fix k.
    """
    parts = [torch.zeros_like(solid[:, :1])]
    for l in range(1, round(sqrt(solid.shape[1]))):
        coupling = wigner_3j(l - 1, 1, l)
        factor = l / (coupling[l - 1, 1, l] * sqrt((2 * l - 1) / (2 * l + 1)))
        lowering = torch.as_tensor(factor * coupling, dtype=solid.dtype, device=solid.device)
        pairs = solid[:, (l - 1) ** 2 : l * l, None] * vectors[:, None, :]
        parts.append(pairs.flatten(1) @ lowering.flatten(0, 1))
    return torch.cat(parts, dim=1)


class Polynomials(NamedTuple):
    """Harmonics as sums of monomials x^a y^b z^c.

    exponents: (a, b, c) of each, by degree. matrix: (monomials, harmonics), their coefficients.
    """

    exponents: tuple[tuple[int, int, int], ...]
    matrix: np.ndarray


def harmonic_polynomials(l_max: int) -> Polynomials:
    """Return Y_0 ... Y_l_max as polynomials of a unit vector."""
    exponents = (powers for degree in range(l_max + 1) for powers in _exponents(degree))
    return Polynomials(tuple(exponents), _harmonic_matrix(l_max))


@kept_constants
def _factors(l_max: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Return `_monomial_factors` where directions lie."""
    return tuple(torch.from_numpy(x).to(device, dtype) for x in _monomial_factors(l_max))


@functools.lru_cache
def _monomial_factors(l_max: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every monomial as a product of l_max factors, each a coordinate or 1.

    Few operations, whose derivatives are few too.

    Returns the matrix (3, l_max * monomials) that selects coordinates, the ones (l_max *
    monomials,), and the harmonics' coefficients.
    """
    exponents = [exponent for degree in range(l_max + 1) for exponent in _exponents(degree)]
    factors = np.full((l_max, len(exponents)), 3)
    for column, powers in enumerate(exponents):
        axes = np.repeat(np.arange(3), powers)
        factors[: len(axes), column] = axes
    chosen = np.eye(4)[factors.reshape(-1)].T
    return chosen[:3], chosen[3], _harmonic_matrix(l_max)


def _exponents(degree: int) -> list[tuple[int, int, int]]:
    return [(degree - y - z, y, z) for y in range(degree + 1) for z in range(degree + 1 - y)]


@functools.lru_cache
def _harmonic_matrix(l_max: int) -> np.ndarray:
    """Coefficients of every harmonic in the monomials of degree 0 to l_max.

    By the coupling Y_l = c (Y_{l-1} x Y_1)_l. The stretched coupling of unit vectors is
    proportional to Y_l; its norm is fixed at the pole y, where Y_l has a single component.
    """
    blocks = [np.ones((1, 1))]
    for l in range(1, l_max + 1):
        exponents = {exponent: row for row, exponent in enumerate(_exponents(l))}
        block = np.zeros((len(exponents), 2 * l + 1))
        for row, exponent in enumerate(_exponents(l - 1)):
            for axis in range(3):
                x, y, z = (n + (a == axis) for a, n in enumerate(exponent))
                block[exponents[x, y, z]] += blocks[-1][row] @ wigner_3j(l - 1, 1, l)[:, axis, :]
        pole = block[exponents[(0, l, 0)]]
        blocks.append(block * (sqrt(2 * l + 1) / np.linalg.norm(pole)))
    matrix = np.zeros((sum(len(b) for b in blocks), (l_max + 1) ** 2))
    row = column = 0
    for block in blocks:
        matrix[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return matrix
