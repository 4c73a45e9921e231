"""Sparse tables of the couplings of irreps: one of them drives every tensor product."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from molequi.o3.clebsch_gordan import wigner_3j
from molequi.o3.irreps import Irrep, Irreps


class Path(NamedTuple):
    """One allowed coupling: positions of both inputs and of the output in their `Irreps`."""

    first: int
    second: int
    output: int


@dataclasses.dataclass(frozen=True, eq=False)
class CouplingTable:
    """All paths of first x second -> output as one sparse table, sorted by path.

    first, second, output: the irreps of each side. paths: the allowed couplings.
    path, component_first, component_second, component_output: (T,), int64; value: (T,), float64.
    Entry t says that path[t] adds value[t] * a[component_first[t]] * b[component_second[t]] to
    component_output[t]. Each path alone gives components of unit variance from components of unit
    variance.
    symmetric: whether the two sides are the same tensor. separate: whether each path has an output
    of its own; the components of the paths into one irrep then alternate, all paths' first
    components, then all their second ones, so that a linear map over the paths needs no copy.
    """

    first: Irreps
    second: Irreps
    output: Irreps
    paths: tuple[Path, ...]
    path: np.ndarray
    component_first: np.ndarray
    component_second: np.ndarray
    component_output: np.ndarray
    value: np.ndarray
    symmetric: bool = False
    separate: bool = False

    def path_counts(self) -> list[int]:
        """Return for each path how many lead into the same irrep of the output."""
        counts = Counter(path.output for path in self.paths)
        return [counts[path.output] for path in self.paths]


def coupling_table(
    first: Iterable[tuple[int, int]],
    second: Iterable[tuple[int, int]],
    output: Iterable[tuple[int, int]],
    *,
    symmetric: bool = False,
    separate: bool = False,
) -> CouplingTable:
    """List every path that parity and the triangle rule allow.

    With `symmetric` the two sides are the same tensor: only paths with first <= second are kept,
    and those that vanish for equal arguments (antisymmetric squares) are left out. With `separate`
    paths are not summed: each has an irrep of the output of its own.
    """
    sides = Irreps(first), Irreps(second), Irreps(output)
    return _coupling_table(*sides, symmetric=symmetric, separate=separate)


@functools.lru_cache
def _coupling_table(
    first: Irreps, second: Irreps, output: Irreps, *, symmetric: bool, separate: bool
) -> CouplingTable:
    paths = list(_allowed(first, second, output, symmetric=symmetric))
    if separate:
        paths.sort(key=lambda path: path.output)
        output = Irreps(output[path.output] for path in paths)
        paths = [path._replace(output=k) for k, path in enumerate(paths)]
    return _assembled((first, second, output), paths, symmetric=symmetric, separate=separate)


def table_of_paths(
    first: Iterable[tuple[int, int]],
    second: Iterable[tuple[int, int]],
    output: Iterable[tuple[int, int]],
    paths: Iterable[Path],
) -> CouplingTable:
    """List the given paths alone; an irrep may stand in `output` more than once."""
    return _assembled((Irreps(first), Irreps(second), Irreps(output)), list(paths))


def _assembled(
    irreps: tuple[Irreps, Irreps, Irreps],
    paths: Sequence[Path],
    *,
    symmetric: bool = False,
    separate: bool = False,
) -> CouplingTable:
    first, second, output = irreps
    sides = components_of(first), components_of(second), components_of(output, alternating=separate)
    terms = _Terms.joined(
        _Terms.of(
            p,
            wigner_3j(first[path.first].l, second[path.second].l, output[path.output].l),
            [components[place] for components, place in zip(sides, path, strict=True)],
        )
        for p, path in enumerate(paths)
    )
    return CouplingTable(
        first,
        second,
        output,
        tuple(paths),
        **terms._asdict(),
        symmetric=symmetric,
        separate=separate,
    )


def _allowed(first: Irreps, second: Irreps, output: Irreps, *, symmetric: bool) -> Iterator[Path]:
    """Yield the paths that parity and the triangle rule allow, without redundant ones."""
    for (i, a), (j, b), (k, c) in itertools.product(*map(enumerate, (first, second, output))):
        path = Path(i, j, k)
        if c in a * b and not (symmetric and _is_redundant(path, first, output)):
            yield path


def _is_redundant(path: Path, factors: Irreps, output: Irreps) -> bool:
    """Whether a path is another one's mirror image or vanishes where the factors are equal."""
    return path.first > path.second or (
        path.first == path.second and _is_antisymmetric(factors[path.first], output[path.output])
    )


def _is_antisymmetric(factor: Irrep, output: Irrep) -> bool:
    """Whether `output` is in the antisymmetric square of `factor`."""
    return (2 * factor.l + output.l) % 2 == 1


class _Terms(NamedTuple):
    """The columns of a table."""

    path: np.ndarray
    component_first: np.ndarray
    component_second: np.ndarray
    component_output: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, path: int, invariant: np.ndarray, components: Sequence[np.ndarray]) -> _Terms:
        """Return the terms of one path: its invariant tensor, and the components of each side."""
        tensor = invariant * sqrt(invariant.shape[2])
        where = np.nonzero(np.abs(tensor) > 1e-12)
        first, second, output = (side[index] for side, index in zip(components, where, strict=True))
        return cls(np.full(len(first), path), first, second, output, tensor[where])

    @classmethod
    def joined(cls, parts: Iterable[_Terms]) -> _Terms:
        """Return all terms of several paths."""
        none = np.zeros(0, dtype=np.int64)
        columns = zip(cls(none, none, none, none, np.zeros(0)), *parts, strict=True)
        return cls._make(np.concatenate(column) for column in columns)


def components_of(irreps: Irreps, *, alternating: bool = False) -> list[np.ndarray]:
    """Return the components of each irrep, int64.

    With `alternating` equal ones, which stand next to each other, take their components in turn.
    """
    components: list[np.ndarray] = []
    start = 0
    for irrep, group in itertools.groupby(irreps):
        count = len(list(group))
        block = np.arange(start, start + count * irrep.dim)
        components += list(
            block.reshape(irrep.dim, count).T if alternating else block.reshape(count, irrep.dim)
        )
        start += block.size
    return components
