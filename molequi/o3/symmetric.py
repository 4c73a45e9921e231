"""Bases of the equivariant polynomials of a feature vector, as chains of pair couplings.

A polynomial of degree 3 in the components x of some irreps is a sum over paths ((x_i x_j)_k x_l)_L.
Most of these paths are linear combinations of others, because x commutes with itself: of the 15
into a scalar for l <= 3 eight are independent.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from molequi.o3.coupling import CouplingTable, Path, coupling_table, table_of_paths
from molequi.o3.irreps import Irrep, Irreps

# What of a new path must lie outside the span of those before it, of its length.
_INDEPENDENT = 1e-6
# A path whose polynomial is shorter is zero but for rounding: (1o x 1e) . 1o = v . (v x a).
_ZERO = 1e-9


class Chain(NamedTuple):
    """Two tables: pairs of x, each path with an output of its own, and pairs times x."""

    pairs: CouplingTable
    triples: CouplingTable


class Polynomials(NamedTuple):
    """The equivariant polynomials of x of up to `degree` factors, a weight for each path.

    linear: by path the positions of an irrep in `irreps` and in `output`. squares: paths of two
    factors. cubes: those of three. Weights stand in this order.
    """

    irreps: Irreps
    output: Irreps
    degree: int
    linear: tuple[tuple[int, int], ...]
    squares: CouplingTable
    cubes: Chain

    @property
    def counts(self) -> tuple[int, ...]:
        """The number of paths of each degree."""
        counts = len(self.linear), len(self.squares.paths), len(self.cubes.triples.paths)
        return counts[: self.degree]


@functools.lru_cache
def equivariant_polynomials(irreps: Irreps, output: Irreps, degree: int) -> Polynomials:
    """Return the polynomials of 1 to 3 factors that turn as `output` does."""
    linear = tuple(_linear(irreps, output))
    squares = coupling_table(irreps, irreps, output, symmetric=True)
    return Polynomials(irreps, output, degree, linear, squares, cubic_basis(irreps, output))


def _linear(irreps: Irreps, output: Irreps) -> Iterator[tuple[int, int]]:
    """Yield the places of each irrep of the output among `irreps`, where it may stand twice."""
    for k, wanted in enumerate(output):
        yield from ((i, k) for i, irrep in enumerate(irreps) if irrep == wanted)


class _Candidate(NamedTuple):
    """A path ((x_first x_second)_middle x_third) into an output."""

    first: int
    second: int
    middle: Irrep
    third: int

    @property
    def pair(self) -> tuple[int, int, Irrep]:
        return self.first, self.second, self.middle


@functools.lru_cache
def cubic_basis(irreps: Irreps, output: Irreps) -> Chain:
    """Return paths that span all equivariant polynomials of degree 3, and no more than needed.

    Of paths that serve alike those with the smallest intermediate irrep are taken, which have the
    fewest terms.
    """
    chosen = _chosen(irreps, output, _ZERO)
    pairs = list(dict.fromkeys(path.pair for _, path in chosen))
    middles = Irreps(middle for *_, middle in pairs)
    return Chain(
        table_of_paths(
            irreps, irreps, middles, [Path(i, j, p) for p, (i, j, _) in enumerate(pairs)]
        ),
        table_of_paths(
            middles,
            irreps,
            output,
            [Path(pairs.index(path.pair), path.third, k) for k, path in chosen],
        ),
    )


def older_scales(irreps: Irreps, output: Irreps) -> list[float]:
    """Return what takes weights of `cubic_basis` of before November 2026 to those of today.

    A factor for each path of then: zero for those whose polynomial is zero, which were taken for
    independent by their rounding, and else what another number of paths into an irrep makes of the
    norm of its weights, which are divided by its root.
    """
    then, now = _chosen(irreps, output, 0.0), set(_chosen(irreps, output, _ZERO))
    before, after = (Counter(k for k, _ in chosen) for chosen in (then, now))
    return [(after[k] / before[k]) ** 0.5 if (k, path) in now else 0.0 for k, path in then]


def _chosen(irreps: Irreps, output: Irreps, zero: float) -> list[tuple[int, _Candidate]]:
    return [
        (k, path) for k, irrep in enumerate(output) for path in _independent(irreps, irrep, zero)
    ]


def _independent(irreps: Irreps, output: Irrep, zero: float) -> Iterator[_Candidate]:
    """Yield paths into one output whose polynomials are longer than zero, and independent."""
    span = np.zeros((0, 0))
    for path in sorted(_candidates(irreps, output), key=lambda path: path.middle.l):
        vector = _first_component(irreps, path, output)
        size = np.linalg.norm(vector)
        if size <= zero:
            continue
        vector /= size
        span = span.reshape(-1, len(vector))
        for _ in range(2):  # once more removes what rounding left
            vector = vector - span.T @ (span @ vector)
        length = np.linalg.norm(vector)
        if length > _INDEPENDENT:
            span = np.vstack([span, vector / length])
            yield path


def _candidates(irreps: Irreps, output: Irrep) -> Iterator[_Candidate]:
    for i, j in itertools.combinations_with_replacement(range(len(irreps)), 2):
        for middle in irreps[i] * irreps[j]:
            # The antisymmetric square of equal factors is zero.
            if i == j and (2 * irreps[i].l + middle.l) % 2:
                continue
            for third, irrep in enumerate(irreps):
                if output in middle * irrep:
                    yield _Candidate(i, j, middle, third)


def _first_component(irreps: Irreps, path: _Candidate, output: Irrep) -> np.ndarray:
    """The coefficients of the output's first component: what is independent there is everywhere."""
    i, j, middle, third = path
    pairs = table_of_paths(irreps, irreps, (middle,), [Path(i, j, 0)])
    triples = table_of_paths((middle,), irreps, (output,), [Path(0, third, 0)])
    return symmetrized(next(_cubic_tensors(Chain(pairs, triples), components=1))[0], 3)


def polynomials(irreps: Irreps, output: Irreps, degree: int) -> list[np.ndarray]:
    """Return the coefficients of every path's polynomial by monomial, for each output irrep.

    Entries (components, monomials, paths), paths in the order of their table: of degree 1 the
    irrep itself, each time that it is among the inputs; of degree 2 `coupling_table` of symmetric
    paths; of degree 3 `cubic_basis`. Monomials are those of `symmetrized`.
    """
    paths: list[list[np.ndarray]] = [[] for _ in output]
    for place, tensor in _tensors(irreps, output, degree):
        paths[place].append(symmetrized(tensor, degree))
    n_monomials = len(_monomials(irreps.dim, degree)[1])
    return [
        np.stack(of_irrep, axis=-1) if of_irrep else np.zeros((irrep.dim, n_monomials, 0))
        for irrep, of_irrep in zip(output, paths, strict=True)
    ]


def symmetrized(tensor: np.ndarray, degree: int) -> np.ndarray:
    """Return the coefficients of sum T[a, b, ...] x_a x_b ... by monomial.

    tensor: (..., M, M, ...), the last `degree` axes those of x. Returns (..., monomials), the
    monomials x_a x_b ... with a <= b <= ... in lexical order.
    """
    index, monomials = _monomials(tensor.shape[-1], degree)
    flat = tensor.reshape(-1, len(index))
    rows = [np.bincount(index, row, minlength=len(monomials)) for row in flat]
    return np.array(rows).reshape(*tensor.shape[:-degree], len(monomials))


@functools.lru_cache
def _monomials(size: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """The monomial of each entry of a tensor, and the sorted factors of each monomial."""
    factors = np.sort(np.indices((size,) * degree).reshape(degree, -1).T, axis=1)
    monomials, index = np.unique(factors, axis=0, return_inverse=True)
    return index.reshape(-1), monomials


def _tensors(irreps: Irreps, output: Irreps, degree: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the output and the tensor (components, M, ...) of each path."""
    if degree == 1:
        eye, slices = np.eye(irreps.dim), irreps.slices()
        yield from ((k, eye[slices[i]]) for i, k in _linear(irreps, output))
    elif degree == 2:
        table = coupling_table(irreps, irreps, output, symmetric=True)
        dense = _dense(table)
        for path, one in zip(table.paths, dense, strict=True):
            yield path.output, one[output.slices()[path.output]]
    else:
        chain = cubic_basis(irreps, output)
        for path, tensor in zip(chain.triples.paths, _cubic_tensors(chain), strict=True):
            yield path.output, tensor


def _cubic_tensors(chain: Chain, components: int | None = None) -> Iterator[np.ndarray]:
    """Yield (components, M, M, M) of each path of the triples."""
    pairs, triples = _dense(chain.pairs), _dense(chain.triples)
    middles, outputs = chain.pairs.output.slices(), chain.triples.output.slices()
    for path, triple in zip(chain.triples.paths, triples, strict=True):
        middle = middles[path.first]
        one = triple[outputs[path.output], middle][:components]
        yield np.einsum("kml,mab->kabl", one, pairs[path.first][middle])


def _dense(table: CouplingTable) -> np.ndarray:
    """Return (paths, output, first, second) of a table."""
    shape = len(table.paths), table.output.dim, table.first.dim, table.second.dim
    dense = np.zeros(shape)
    dense[table.path, table.component_output, table.component_first, table.component_second] = (
        table.value
    )
    return dense
