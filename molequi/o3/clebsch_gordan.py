"""Clebsch-Gordan coefficients in the real basis, and the sparse tables of paths that drive every tensor product.

The coefficients are computed here from Racah's formula, so that a checkpoint gives the same numbers
under every version of e3nn; the tests hold them to e3nn's `wigner_3j` at 1e-12.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from math import factorial, sqrt
from typing import NamedTuple

import numpy as np


@functools.lru_cache
def wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    """Return the invariant tensor of l1 x l2 x l3 in the real basis.

    (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), Frobenius norm 1.

    Sign and basis are those of `e3nn.o3.wigner_3j`. Raises ValueError where the triangle rule
    forbids the coupling.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"l = {l1}, {l2}, {l3} break the triangle rule |l1 - l2| <= l3 <= l1 + l2")
    real = [_real_basis(l) for l in (l1, l2, l3)]
    tensor = np.einsum(
        "ij,kl,nm,ikn->jlm", real[0], real[1], real[2].conj(), _complex_coefficients(l1, l2, l3)
    )
    tensor = np.ascontiguousarray(tensor.real)
    tensor /= np.linalg.norm(tensor)
    tensor.setflags(write=False)
    return tensor


def _complex_coefficients(l1: int, l2: int, l3: int) -> np.ndarray:
    """<l1 m1 l2 m2 | l3 m3> with m running upwards."""
    out = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            out[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3)
    return out


def _racah(j1: int, m1: int, j2: int, m2: int, j3: int) -> float:
    """Racah's formula for one coefficient (Varshalovich et al., Quantum Theory of Angular Momentum, 1988, section 8.2.1)."""
    f, m3 = factorial, m1 + m2
    triangle = f(j3 + j1 - j2) * f(j3 - j1 + j2) * f(j1 + j2 - j3) / f(j1 + j2 + j3 + 1)
    norm = (
        (2 * j3 + 1)
        * triangle
        * f(j3 + m3)
        * f(j3 - m3)
        * f(j1 - m1)
        * f(j1 + m1)
        * f(j2 - m2)
        * f(j2 + m2)
    )
    total = 0.0
    for k in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        total += (-1) ** k / (
            f(k)
            * f(j1 + j2 - j3 - k)
            * f(j1 - m1 - k)
            * f(j2 + m2 - k)
            * f(j3 - j2 + m1 + k)
            * f(j3 - j1 - m2 + k)
        )
    return sqrt(norm) * total


def _real_basis(l: int) -> np.ndarray:
    """Columns: the real spherical harmonics of e3nn in the complex ones, times (-i)^l so that all couplings are real."""
    q = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    q[l, l] = 1.0
    for m in range(1, l + 1):
        q[l - m, l + m], q[l - m, l - m] = sqrt(0.5), -1j * sqrt(0.5)
        q[l + m, l + m], q[l + m, l - m] = (-1) ** m * sqrt(0.5), 1j * (-1) ** m * sqrt(0.5)
    return (-1j) ** l * q


class Path(NamedTuple):
    """One allowed coupling: positions of the two inputs and of the output in their lists of irreps."""

    first: int
    second: int
    output: int


Irreps = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class CouplingTable:
    """All paths of first x second -> output as one sparse table, sorted by path.

    first, second, output: the irreps of each side. paths: the allowed couplings.
    path, row_first, row_second, row_output: (T,), int64; value: (T,), float64. Entry t says that
    path[t] adds value[t] * a[row_first[t]] * b[row_second[t]] to row_output[t]. Each path alone
    gives rows of unit variance from rows of unit variance.
    symmetric: whether the two sides are the same tensor. separate: whether each path has an output
    of its own; the rows of the paths into one irrep then alternate, all paths' first components,
    then all their second ones, so that a linear map over the paths needs no copy.
    """

    first: Irreps
    second: Irreps
    output: Irreps
    paths: tuple[Path, ...]
    path: np.ndarray
    row_first: np.ndarray
    row_second: np.ndarray
    row_output: np.ndarray
    value: np.ndarray
    symmetric: bool = False
    separate: bool = False


@functools.lru_cache
def coupling_table(
    first: Irreps,
    second: Irreps,
    output: Irreps,
    *,
    symmetric: bool = False,
    separate: bool = False,
) -> CouplingTable:
    """List every path that parity and the triangle rule allow.

    With `symmetric` the two sides are the same tensor: only paths with first <= second are kept,
    and those that vanish for equal arguments (antisymmetric squares) are left out. With `separate`
    paths are not summed: each has an irrep of the output of its own.
    """
    allowed = [
        Path(i, j, k)
        for i, (l1, p1) in enumerate(first)
        for j, (l2, p2) in enumerate(second)
        for k, (l3, p3) in enumerate(output)
        if p1 * p2 == p3
        and abs(l1 - l2) <= l3 <= l1 + l2
        and not (symmetric and (i > j or (i == j and (l1 + l2 + l3) % 2 == 1)))
    ]
    if separate:
        allowed.sort(key=lambda path: path.output)
        output = tuple(output[path.output] for path in allowed)
        allowed = [path._replace(output=k) for k, path in enumerate(allowed)]
    rows = [rows_of(first), rows_of(second), rows_of(output, alternating=separate)]
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for p, path in enumerate(allowed):
        tensor = wigner_3j(
            first[path.first][0], second[path.second][0], output[path.output][0]
        ) * sqrt(2 * output[path.output][0] + 1)
        where = np.nonzero(np.abs(tensor) > 1e-12)
        placed = [
            side[position][component]
            for side, position, component in zip(rows, path, where, strict=True)
        ]
        for column, values in zip(
            columns, (*placed, tensor[where], np.full(len(where[0]), p)), strict=True
        ):
            column.append(values)
    joined = [np.concatenate(column) if column else np.zeros(0) for column in columns]
    rows_first, rows_second, rows_output = (rows.astype(np.int64) for rows in joined[:3])
    columns_of_table = joined[4].astype(np.int64), rows_first, rows_second, rows_output, joined[3]
    return CouplingTable(
        tuple(first),
        tuple(second),
        tuple(output),
        tuple(allowed),
        *columns_of_table,
        symmetric,
        separate,
    )


def rows_of(irreps: Irreps, *, alternating: bool = False) -> list[np.ndarray]:
    """Return the rows of each irrep.

    With `alternating` equal ones, which stand next to each other, share their rows in turn.
    """
    rows: list[np.ndarray] = []
    start = 0
    for (l, _), group in itertools.groupby(irreps):
        count, size = len(list(group)), 2 * l + 1
        block = np.arange(start, start + count * size)
        rows += list(block.reshape(size, count).T if alternating else block.reshape(count, size))
        start += count * size
    return rows
