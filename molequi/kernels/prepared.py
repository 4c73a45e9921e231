"""Kernels of fixed tables, weights and splines, prepared once, for gradients written out by hand.

No autograd, no dispatch, no threads, no tensors: for a small molecule these cost more than the
work. Arrays are contiguous; each call serves the nodes of a range.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.kernels import compiled, cpu
from molequi.kernels.contraction_terms import program
from molequi.kernels.edges import Edges, NodeRange
from molequi.kernels.tables import arrays, name_of
from molequi.o3.coupling import CouplingTable


class Walk(NamedTuple):
    """`Edges` as arrays; kinds is left to whoever has several splines."""

    sender: np.ndarray
    receiver: np.ndarray
    receiver_ptr: np.ndarray
    sender_order: np.ndarray
    sender_ptr: np.ndarray


def walk_of(edges: Edges) -> Walk:
    """Return the edges as arrays."""
    ends = edges.index[0], edges.index[1]
    return Walk(*arrays(*ends, edges.receiver_ptr, edges.sender_order, edges.sender_ptr))


class Splines(NamedTuple):
    """Functions of distance, those of all kinds of edges one after the other: see `convolve`.

    values: (kinds (K + 3), paths, C). numbers: K, the cutoff, and what maps distances to knots.
    together: how many paths a kernel works on at a time.
    """

    values: np.ndarray
    numbers: tuple[int, np.floating, np.floating, np.floating]
    together: int


def splines_of(s: Tensor, cutoff: float) -> Splines:
    """Return splines ([kinds,] K + 3, paths, C) as kernels take them."""
    (values,) = arrays(cpu.flat(s))
    return Splines(values, cpu.knots_map(s, cutoff), cpu.together(s))


class Geometry(NamedTuple):
    """What kernels see of the edges: harmonics (E, rows), distances (E,), Å, or gradients."""

    harmonics: np.ndarray
    distances: np.ndarray


class Convolution:
    """A of `kernels.convolve`, with the kernels of a form."""

    def __init__(self, table: CouplingTable, form: str, dtype: torch.dtype) -> None:
        self.n_sums, self._key = table.output.dim, (form, name_of(table), dtype)

    def write(
        self,
        h: np.ndarray,
        edges: Geometry,
        s: Splines,
        kinds: np.ndarray,
        walk: Walk,
        out: np.ndarray,
        nodes: NodeRange,
    ) -> None:
        """Write A of these receivers."""
        kernel = cpu.kernels_of(*self._key, s.together).forward
        way = walk.sender, kinds, walk.receiver_ptr
        kernel(*nodes, h, *edges, s.values, *way, *s.numbers, out)

    def write_gradient(
        self,
        h: np.ndarray,
        edges: Geometry,
        s: Splines,
        g: np.ndarray,
        kinds: np.ndarray,
        walk: Walk,
        out: tuple[np.ndarray, Geometry],
        nodes: NodeRange,
    ) -> None:
        """Write dh, dy and dr of these senders, and of edges from them; g: the gradient of A."""
        kernel, (dh, of_edges) = cpu.kernels_of(*self._key, s.together).backward, out
        way = walk.receiver, walk.sender_order, kinds, walk.sender_ptr
        nothing = s.values[:0]
        kernel(*nodes, h, *edges, s.values, g, *way, *s.numbers, dh, *of_edges, nothing)


class NodePolynomials:
    """B of `kernels.contract`, its weights fixed."""

    def __init__(self, name: str, weights: Tensor) -> None:
        self._program, (self._weights,) = program(name, weights.dtype), arrays(weights)
        self._no_gradient = self._weights[:0]

    def write(self, x: np.ndarray, species: np.ndarray, out: np.ndarray, nodes: NodeRange) -> None:
        """Write B of x."""
        kernel = compiled.contraction.forward
        kernel(*self._program, *nodes, x, self._weights, species, out)

    def write_gradient(
        self, x: np.ndarray, g: np.ndarray, species: np.ndarray, out: np.ndarray, nodes: NodeRange
    ) -> None:
        """Write dx; g: the gradient of B."""
        kernel, nothing = compiled.contraction.backward, self._no_gradient
        kernel(*self._program, *nodes, x, self._weights, g, species, out, nothing)
