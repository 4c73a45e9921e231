"""Null spaces of the equations of intertwiners, dense and sparse, with a rank that is beyond doubt.

The dense one is a singular value decomposition. The sparse one takes the row space out of random
vectors: x - E^+ E x, where E^+ E x is the least-squares solution of smallest norm that conjugate
gradients reach from zero. For a Lie algebra E^T E is a Casimir operator, which has few different
eigenvalues; conjugate gradients end after as many steps.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from molequi.errors import UserError
from molequi.groups.representations import identity

# Singular values of equations whose generators have entries up to 1, relative to the largest if
# that is above 1: below the first they are zero, above the second they are not, and there must be
# none in between.
_ZERO, _NOT_ZERO = 1e-9, 1e-5
# Of conjugate gradients, relative to E^T E x: where they have arrived, and after how many steps
# they are given up.
_ARRIVED, _MOST_STEPS = 1e-14, 1500
# What is left of a random vector without a part in the null space, of length 1 at first.
_NOTHING = 1e-7


def dense_null_space(matrix: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the null space: (n, dim).

    Raises UserError where a singular value is neither zero nor not.
    """
    # A triangular factor has the same singular values and is much smaller than many stacked
    # generators.
    triangle = np.linalg.qr(matrix, mode="r") if matrix.shape[0] > matrix.shape[1] else matrix
    _, sizes, right = np.linalg.svd(triangle, full_matrices=True)
    sizes = np.concatenate([sizes, np.zeros(len(right) - len(sizes))])
    return _with_signs(right[_is_null(sizes, max(sizes[0], 1.0))].T)


def sparse_null_space(matrix: sparse.csr_array) -> np.ndarray:
    """Return the same of a large sparse matrix.

    From a block of random vectors that grows until it holds more than the null space.
    """
    largest = max(float(np.sqrt(abs(matrix.T @ matrix).sum(axis=0).max())), 1.0)
    size, width, rng = matrix.shape[1], 16, np.random.default_rng(0)
    project = _Projection(matrix, largest)
    while True:
        width = min(2 * width, size)
        block = project(rng.standard_normal((size, width)) / np.sqrt(size))
        left, sizes, _ = np.linalg.svd(block, full_matrices=False)
        found = left[:, sizes > _NOTHING]
        if found.shape[1] < width or width == size:
            return _with_signs(_checked(matrix, project(found), largest))


class _Projection:
    """Onto the null space of E: by conjugate gradients, or by a factorisation where these fail."""

    def __init__(self, matrix: sparse.csr_array, largest: float) -> None:
        self._matrix, self._transpose = matrix, sparse.csr_array(matrix.T)
        self._largest = largest

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """Return the columns without their parts in the row space: (n, width)."""
        found = self._by_gradients(block)
        return self._by_inverses(block) if found is None else found

    def _by_gradients(self, block: np.ndarray) -> np.ndarray | None:
        """Solve E^T E x = E^T E b, each column for itself, and return b - x; None if that fails."""
        left = block.copy()  # b - x
        image = self._matrix @ left
        residual = self._transpose @ image
        direction, square = residual.copy(), _squares(residual)
        goal = np.maximum(_ARRIVED**2 * square, (_ARRIVED * self._largest**2) ** 2)
        for _ in range(_MOST_STEPS):
            active = square > goal
            if not active.any():
                return left
            moved = self._matrix @ direction
            step = np.where(active, square / np.maximum(_squares(moved), 1e-300), 0.0)
            left -= step * direction
            image -= step * moved
            residual = self._transpose @ image
            before, square = square, _squares(residual)
            direction = residual + np.where(active, square / before, 0.0) * direction
        return None

    def _by_inverses(self, block: np.ndarray) -> np.ndarray:
        """Return what inverse iteration of E^T E + shift makes of the block: slow, large, sure."""
        for _ in range(4):
            block = np.linalg.qr(self._factors.solve(block))[0]
        _, sizes, right = np.linalg.svd(self._matrix @ block, full_matrices=True)
        sizes = np.concatenate([sizes, np.zeros(block.shape[1] - len(sizes))])
        return block @ right[_is_null(sizes, self._largest)].T

    @functools.cached_property
    def _factors(self) -> SuperLU:
        gram = self._transpose @ self._matrix
        shift = 1e-10 * self._largest**2 * identity(gram.shape[0])
        return splu(sparse.csc_matrix(gram + shift))


def _checked(matrix: sparse.csr_array, block: np.ndarray, largest: float) -> np.ndarray:
    """Return an orthonormal basis of what of the block's span is in the null space."""
    if block.shape[1] == 0:
        return block
    basis = np.linalg.qr(block)[0]
    _, sizes, right = np.linalg.svd(matrix @ basis, full_matrices=False)
    return basis @ right[_is_null(sizes, largest)].T


def _squares(columns: np.ndarray) -> np.ndarray:
    return np.einsum("nw,nw->w", columns, columns)


def _is_null(sizes: np.ndarray, largest: float) -> np.ndarray:
    doubtful = sizes[(sizes > _ZERO * largest) & (sizes < _NOT_ZERO * largest)]
    if len(doubtful):
        raise UserError(
            f"the dimension is in doubt: a singular value is {doubtful.min() / largest:.1e} of the "
            "largest, neither zero nor not; "
            "give the generators to full double precision"
        )
    return sizes <= _ZERO * largest


def _with_signs(columns: np.ndarray) -> np.ndarray:
    """Make the largest entry of each column positive.

    So that results do not depend on the linear algebra library's signs.
    """
    if columns.shape[1] == 0:
        return columns
    largest = columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])]
    return columns * np.where(largest < 0, -1.0, 1.0)
