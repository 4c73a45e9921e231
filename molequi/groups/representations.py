"""Representations by generators.

Of a finite list of group elements, and of a basis of the Lie algebra.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from molequi.errors import UserError

_TOLERANCE = 1e-10


class Group(NamedTuple):
    """A group as far as equations need it.

    A name, and how many finite and infinitesimal generators stand for it.
    """

    name: str
    n_finite: int
    n_algebra: int


@dataclasses.dataclass(frozen=True, eq=False)
class Representation:
    """Matrices of the generators of a group on R^n.

    finite: rho(g) of each finite generator, algebra: drho(X) of each generator of the Lie algebra;
    (n, n), sparse.
    summands: the representations of which this is the direct sum, in order; empty where it is none.
    """

    group: Group
    dim: int
    finite: tuple[sparse.csr_array, ...]
    algebra: tuple[sparse.csr_array, ...]
    name: str = ""
    summands: tuple[Representation, ...] = ()

    @property
    def blocks(self) -> tuple[Representation, ...]:
        """The summands, or this representation alone."""
        return self.summands or (self,)

    @functools.cached_property
    def is_permutation(self) -> bool:
        """Whether every group element permutes the components."""
        return self.is_signed_permutation and all((matrix.data > 0).all() for matrix in self.finite)

    @functools.cached_property
    def is_signed_permutation(self) -> bool:
        """Whether every group element permutes the components and changes signs."""
        return all(is_monomial(matrix) for matrix in self.finite) and all(
            _is_zero(matrix) for matrix in self.algebra
        )

    @functools.cached_property
    def is_orthogonal(self) -> bool:
        """Whether every group element keeps the Euclidean norm."""
        one = identity(self.dim)
        return all(_is_zero(m.T @ m - one) for m in self.finite) and all(
            _is_zero(m.T + m) for m in self.algebra
        )


def represent(
    group: str,
    finite: Sequence[np.ndarray] = (),
    algebra: Sequence[np.ndarray] = (),
    *,
    name: str = "",
) -> Representation:
    """Make a representation from matrices (n, n), dense or sparse.

    Their order is one that all representations of the group share. Raises UserError where the
    matrices are no square matrices of one size, complex, or none are given.
    """
    given = [m if sparse.issparse(m) else np.asarray(m) for m in (*finite, *algebra)]
    size = _common_size(group, given)
    matrices = _real_matrices(group, given)
    return Representation(
        Group(group, len(finite), len(algebra)),
        size,
        tuple(matrices[: len(finite)]),
        tuple(matrices[len(finite) :]),
        name,
    )


def _common_size(group: str, given: Sequence[np.ndarray | sparse.sparray]) -> int:
    shapes = {matrix.shape for matrix in given}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 2 or shape[0] != shape[1]:
        raise UserError(
            f"generators of {group} have shapes {sorted(shapes)}; give at least one, all square "
            "and of one size"
        )
    return shape[0]


def _real_matrices(
    group: str, given: Sequence[np.ndarray | sparse.sparray]
) -> list[sparse.csr_array]:
    if any(np.iscomplexobj(m.data if sparse.issparse(m) else m) for m in given):
        raise UserError(
            f"a generator of {group} is complex; give real matrices: real and imaginary parts as "
            "components of their own"
        )
    matrices = [sparse.csr_array(matrix, dtype=np.float64) for matrix in given]
    if any(not np.isfinite(matrix.data).all() for matrix in matrices):
        raise UserError(f"a generator of {group} holds numbers that are not finite")
    for matrix in matrices:
        matrix.eliminate_zeros()
    return matrices


def trivial(group: Group, name: str = "trivial") -> Representation:
    """Return the one-dimensional representation that leaves everything alone."""
    zero = sparse.csr_array((1, 1), dtype=np.float64)
    return Representation(
        group, 1, (sparse.csr_array(np.eye(1)),) * group.n_finite, (zero,) * group.n_algebra, name
    )


def direct_sum(*parts: Representation) -> Representation:
    """Return the direct sum.

    Equal summands should be one object, given several times, so that their maps are found once.
    """
    group = same_group(*parts)
    blocks = tuple(block for part in parts for block in part.blocks)
    finite = tuple(_block_diagonal([b.finite[k] for b in blocks]) for k in range(group.n_finite))
    algebra = tuple(_block_diagonal([b.algebra[k] for b in blocks]) for k in range(group.n_algebra))
    return Representation(
        group,
        sum(b.dim for b in blocks),
        finite,
        algebra,
        "+".join(b.name or "?" for b in blocks),
        blocks,
    )


def multiple(count: int, part: Representation) -> Representation:
    """Return the direct sum of `count` copies."""
    return direct_sum(*[part] * count)


def tensor_product(first: Representation, second: Representation) -> Representation:
    """Return the tensor product; component (a, b) has number a * second.dim + b."""
    group = same_group(first, second)
    one, two = identity(first.dim), identity(second.dim)
    finite = tuple(_kron(a, b) for a, b in zip(first.finite, second.finite, strict=True))
    algebra = tuple(
        sparse.csr_array(_kron(a, two) + _kron(one, b))
        for a, b in zip(first.algebra, second.algebra, strict=True)
    )
    return Representation(
        group, first.dim * second.dim, finite, algebra, f"{first.name}x{second.name}"
    )


def dual(part: Representation) -> Representation:
    """Return the dual representation: inverse transposes, and minus transposes on the algebra."""
    finite = tuple(sparse.csr_array(np.linalg.inv(matrix.toarray()).T) for matrix in part.finite)
    return Representation(
        part.group,
        part.dim,
        finite,
        tuple(sparse.csr_array(-m.T) for m in part.algebra),
        f"{part.name}*",
    )


def outer_product(first: Representation, second: Representation) -> Representation:
    """Return the representation of G x H on the tensor product of one of G and one of H."""
    one, two = identity(first.dim), identity(second.dim)
    group = Group(
        f"{first.group.name} x {second.group.name}",
        *(a + b for a, b in zip(first.group[1:], second.group[1:], strict=True)),
    )
    finite = (*(_kron(m, two) for m in first.finite), *(_kron(one, m) for m in second.finite))
    algebra = (*(_kron(m, two) for m in first.algebra), *(_kron(one, m) for m in second.algebra))
    return Representation(
        group, first.dim * second.dim, finite, algebra, f"{first.name} (x) {second.name}"
    )


def same_group(*parts: Representation) -> Group:
    """Return the group that all parts represent.

    Raises UserError where they represent different ones.
    """
    groups = {part.group for part in parts}
    if len(groups) != 1:
        names = ", ".join(
            sorted(
                f"{g.name} ({g.n_finite} finite, {g.n_algebra} infinitesimal generators)"
                for g in groups
            )
        )
        raise UserError(
            f"representations of different groups meet: {names or 'none given'}; all must "
            "represent one group"
        )
    return next(iter(groups))


def identity(size: int) -> sparse.csr_array:
    """Return the identity matrix.

    `sparse.eye_array` is younger than the oldest SciPy allowed here.
    """
    return sparse.csr_array(sparse.identity(size, format="csr"))


def is_monomial(matrix: sparse.csr_array) -> bool:
    """Whether each row and column holds one number, and that is 1 or -1, exactly."""
    rows, columns = matrix.nonzero()
    size = matrix.shape[0]
    ones = len(rows) == size and len(np.unique(rows)) == size and len(np.unique(columns)) == size
    return bool(ones and np.isin(matrix.data, (-1.0, 1.0)).all())


def _is_zero(matrix: sparse.sparray) -> bool:
    return (
        matrix.nnz == 0
        or float(np.abs(sparse.csr_array(matrix).data).max(initial=0.0)) < _TOLERANCE
    )


def _kron(a: sparse.sparray, b: sparse.sparray) -> sparse.csr_array:
    return sparse.csr_array(sparse.kron(a, b, format="csr"))


def _block_diagonal(matrices: list[sparse.csr_array]) -> sparse.csr_array:
    return sparse.csr_array(sparse.block_diag(matrices, format="csr"))
