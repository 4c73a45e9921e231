"""Real spherical harmonics of unit vectors, up to any l, as one matrix product on monomials."""

from __future__ import annotations

import functools
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from molequi.symmetry.coupling import wigner_3j


def spherical_harmonics(directions: Tensor, l_max: int) -> Tensor:
    """Return Y_0 ... Y_l_max of unit vectors: (E, 3) -> (E, (l_max + 1)^2).

    Component normalisation: the mean square of each component over the sphere is 1. The basis is e3nn's.
    A zero vector, which has no direction, gives the finite values of the polynomials there.
    """
    axes = directions.unbind(dim=1)
    monomials = [[torch.ones_like(axes[0])]]
    for degree in range(1, l_max + 1):
        monomials.append([monomials[-1][row] * axes[axis] for row, axis in _monomial_steps(degree)])
    stacked = torch.stack([column for columns in monomials for column in columns], dim=1)
    return stacked @ torch.as_tensor(_harmonic_matrix(l_max), dtype=directions.dtype, device=directions.device)


def _exponents(degree: int) -> list[tuple[int, int, int]]:
    return [(degree - y - z, y, z) for y in range(degree + 1) for z in range(degree + 1 - y)]


@functools.lru_cache
def _monomial_steps(degree: int) -> list[tuple[int, int]]:
    """For each monomial of this degree: a monomial one degree lower, and the coordinate that multiplies it."""
    lower = {exponent: row for row, exponent in enumerate(_exponents(degree - 1))}
    steps = []
    for exponent in _exponents(degree):
        axis = next(a for a in range(3) if exponent[a] > 0)
        steps.append((lower[tuple(n - (a == axis) for a, n in enumerate(exponent))], axis))  # type: ignore[index]
    return steps


@functools.lru_cache
def _harmonic_matrix(l_max: int) -> np.ndarray:
    """Coefficients of every harmonic in the monomials of degree 0 to l_max, by the coupling Y_l = c (Y_{l-1} x Y_1)_l.

    The stretched coupling of unit vectors is proportional to Y_l; its norm is fixed at the pole y, where Y_l has a single component.
    """
    blocks = [np.ones((1, 1))]
    for l in range(1, l_max + 1):
        exponents = {exponent: row for row, exponent in enumerate(_exponents(l))}
        block = np.zeros((len(exponents), 2 * l + 1))
        for row, exponent in enumerate(_exponents(l - 1)):
            for axis in range(3):
                raised = exponents[tuple(n + (a == axis) for a, n in enumerate(exponent))]  # type: ignore[index]
                block[raised] += blocks[-1][row] @ wigner_3j(l - 1, 1, l)[:, axis, :]
        pole = block[exponents[(0, l, 0)]]
        blocks.append(block * (sqrt(2 * l + 1) / np.linalg.norm(pole)))
    matrix = np.zeros((sum(len(b) for b in blocks), (l_max + 1) ** 2))
    row = column = 0
    for block in blocks:
        matrix[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return matrix
