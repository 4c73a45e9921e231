"""Equivariant polynomials as arrays that kernels read, and the names by which they are told.

Products of two factors are made once for squares and cubes alike, and x_a x_b with x_b x_a, which
is the same. For messages up to l = 3 and products of three that leaves, forward, for each atom and
channel 229 multiplications into 0e, 605 into 0e+1o, 1207 into 0e+1o+2e (two for each term of pairs
and triples, one for each weight); the gradient takes three to four times as many. A dense tensor of
three factors has 4096 entries for each path and component of the output.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from molequi.o3.coupling import CouplingTable
from molequi.o3.irreps import Irreps
from molequi.o3.symmetric import Polynomials, equivariant_polynomials


class Program(NamedTuple):
    """What a kernel does for an atom: products of two components, sums of weighted products.

    The rows are the components of the features, then those of the products of two.
    pairs: (T, 3), row, a, b: pair_values[t] x_a x_b is added to the row. singles: (S, 3), path, row
    and component k of the output. groups: (G, 4), path, k, and the first of `triples` and the one
    after the last: triple_values[t] row x_a, with triples[t] = (row, a), are added up and weighed.
    n_rows: rows in all.
    """

    pairs: np.ndarray
    pair_values: np.ndarray
    singles: np.ndarray
    groups: np.ndarray
    triples: np.ndarray
    triple_values: np.ndarray
    n_rows: int

    @property
    def cost(self) -> int:
        """Terms of an atom and channel."""
        return len(self.pairs) + len(self.singles) + len(self.triples)


def name_of(polynomials: Polynomials) -> str:
    """Return the name by which an operator is told of its polynomials: `0e+1o|0e|3`."""
    return f"{polynomials.irreps}|{polynomials.output}|{polynomials.degree}"


def named(name: str) -> Polynomials:
    """Return the polynomials of a name from `name_of`."""
    irreps, output, degree = name.split("|")
    return equivariant_polynomials(Irreps(irreps), Irreps(output), int(degree))


@functools.lru_cache
def program(name: str, dtype: torch.dtype) -> Program:
    """Return the program of a name's polynomials, for features of a dtype."""
    polynomials, forms = named(name), _Forms(named(name).irreps.dim)
    singles = list(_linear(polynomials))
    if polynomials.degree > 1:
        singles += _squares(polynomials, forms)
    groups, triples, values = _cubes(polynomials, forms) if polynomials.degree > 2 else ([], [], [])
    number = str(dtype).removeprefix("torch.")
    return Program(
        _integers(list(forms.terms), 3),
        np.array(list(forms.terms.values()), dtype=number),
        _integers(singles, 3),
        _integers(groups, 4),
        _integers(triples, 2),
        np.array(values, dtype=number),
        forms.n_rows,
    )


class _Forms:
    """Products of two factors: the first row of each, and the terms of all."""

    def __init__(self, n_components: int) -> None:
        self.n_rows, self.terms = n_components, dict[tuple[int, int, int], float]()
        self._rows: dict[tuple[int, int, tuple[int, int]], int] = {}

    def row_of(self, table: CouplingTable, p: int) -> int:
        """Return the first row of what path p of a table couples, new where it was not there."""
        path = table.paths[p]
        irrep = table.output[path.output]
        key = path.first, path.second, irrep
        if key not in self._rows:
            self._rows[key] = self.n_rows
            self._add(table, p, self.n_rows - table.output.slices()[path.output].start)
            self.n_rows += irrep.dim
        return self._rows[key]

    def _add(self, table: CouplingTable, p: int, shift: int) -> None:
        for t in np.flatnonzero(table.path == p):
            a, b = sorted((int(table.component_first[t]), int(table.component_second[t])))
            term = int(table.component_output[t]) + shift, a, b
            self.terms[term] = self.terms.get(term, 0.0) + float(table.value[t])


def _linear(polynomials: Polynomials) -> Iterator[tuple[int, int, int]]:
    sources, targets = polynomials.irreps.slices(), polynomials.output.slices()
    for p, (first, output) in enumerate(polynomials.linear):
        for m in range(polynomials.output[output].dim):
            yield p, sources[first].start + m, targets[output].start + m


def _squares(polynomials: Polynomials, forms: _Forms) -> Iterator[tuple[int, int, int]]:
    table, before = polynomials.squares, polynomials.counts[0]
    for p, path in enumerate(table.paths):
        row, target = forms.row_of(table, p), table.output.slices()[path.output]
        for m in range(table.output[path.output].dim):
            yield before + p, row + m, target.start + m


def _cubes(
    polynomials: Polynomials, forms: _Forms
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[float]]:
    """Return the groups of triples, the triples and their values."""
    (pairs, table), before = polynomials.cubes, sum(polynomials.counts[:2])
    rows = np.concatenate(
        [forms.row_of(pairs, q) + np.arange(irrep.dim) for q, irrep in enumerate(pairs.output)]
    )
    order = np.lexsort((table.component_first, table.component_output, table.path))
    groups: list[tuple[int, ...]] = []
    for place, t in enumerate(order):
        key = before + int(table.path[t]), int(table.component_output[t])
        if groups and groups[-1][:2] == key:
            groups[-1] = (*key, groups[-1][2], place + 1)
        else:
            groups.append((*key, place, place + 1))
    triples: list[tuple[int, ...]] = [
        (int(rows[table.component_first[t]]), int(table.component_second[t])) for t in order
    ]
    return groups, triples, [float(table.value[t]) for t in order]


def _integers(rows: list, width: int) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, width)
