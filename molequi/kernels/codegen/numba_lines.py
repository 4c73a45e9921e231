"""Lines that the numba kernels at the receiver and at the sender have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molequi.kernels.codegen.radial import PLACE, basis, radial_sums
from molequi.kernels.codegen.terms import Terms
from molequi.kernels.codegen.text import block, total
from molequi.o3.coupling import CouplingTable


class Form(NamedTuple):
    """What a kernel computes.

    double: it serves the backward of the backward. with_s: it sums up ds. with_z: there is a z.
    """

    double: bool
    with_s: bool = False
    with_z: bool = False

    @property
    def cotangents(self) -> str:
        """The arguments that a backward of the backward has besides."""
        return "u, v, w, z, " if self.double else ""


class NumbaTerms(Terms):
    """Terms whose coefficients are literals of a dtype, `float32` or `float64`."""

    def __init__(self, table: CouplingTable, dtype: str) -> None:
        super().__init__(table)
        self.dtype = f"np.{dtype}"
        self._type = np.dtype(dtype).type

    def number(self, value: float) -> str:
        """A literal of the dtype."""
        return f"{self.dtype}({float(self._type(value))!r})"

    def head(self, n_sums: int) -> list[str]:
        """The first lines of a kernel: its sizes, and the array `acc` of a node's sums."""
        return [
            f"zero, C = {self.number(0.0)}, h.shape[2]",
            f"acc = np.empty(({n_sums}, C), dtype={self.dtype})",
        ]

    def edge(self, group: range, form: Form, *, n_derivatives: int) -> list[str]:
        """Lines that load an edge and contract the coefficients of a group of paths with it."""
        lines = _interval(self.dtype, n_derivatives=n_derivatives)
        if not form.double:
            return lines + self._contracted("m", "y", group)
        contracted = self._contracted("m", "y", group) + self._contracted("n", "v", group)
        return [*lines, "we = w[e]", *contracted]

    def _contracted(self, name: str, source: str, group: range) -> list[str]:
        loads = [f"{source}{b} = {source}[e, {b}]" for b in self.harmonics(group)]
        sums = [
            f"{name}_{p}_{k}_{a} = "
            + total(f"{self.number(value)} * {source}{b}" for b, value in entry)
            for (p, k, a), entry in self.of(group).items()
        ]
        return loads + sums


def _interval(dtype: str, *, n_derivatives: int) -> list[str]:
    """Lines that find the knot interval b of an edge and the basis there.

    An edge at or beyond the cutoff is skipped, NaN stays NaN.
    """
    return [
        *block("if r[e] >= cutoff:", ["continue"]),
        "near = one / (r[e] + shift)",
        f"xe = {PLACE}",
        "b = 0 if xe != xe else min(int(xe), K - 1)",
        f"t = xe - {dtype}(b)",
        *block("if len(kinds) > 0:", ["b += kinds[e] * (K + 3)"]),
        *basis(n_derivatives=n_derivatives),
    ]


def radial(path: int, form: Form, *, n_derivatives: int) -> list[str]:
    """Lines that compute R of a path and channel, its derivatives, and W where it is needed."""
    lines = [f"s{k} = s[b + {k}, {path}, c]" for k in range(4)]
    lines += radial_sums(n_derivatives=n_derivatives)
    if form.double:
        lines.append(f"W = we * D{spline('B', path, form)}")
    return lines


def spline(functions: str, path: int, form: Form) -> str:
    """Write `+ sum B z` of a path, with B or its derivative; nothing without z."""
    if not form.with_z:
        return ""
    return "".join(f" + {functions}{k} * z[b + {k}, {path}, c]" for k in range(4))


def kernel(head: str, body: list[str]) -> str:
    """Write a compiled function."""
    return "\n".join(["@_jit", *block(head, body)])
