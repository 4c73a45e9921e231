"""The convolution's operators on the CPU: numba kernels shared out among threads.

The derivation stands in `kernels.convolution`.

A kernel keeps what belongs to its node in cache. ds, which all nodes share, gets one array per
thread.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.kernels import compiled, jit_cache, splines, threads
from molequi.kernels.codegen import numba_module
from molequi.kernels.edges import Edges, NodeRange
from molequi.kernels.tables import arrays, table_named

# Bytes of spline coefficients that a kernel works on at a time: half of a second-level cache of 1
# MiB.
_CACHE = 2**19


def forward(  # noqa: PLR0913, PLR0917
    h: Tensor,
    y: Tensor,
    r: Tensor,
    s: Tensor,
    index: Tensor,
    receiver_ptr: Tensor,
    order: Tensor,
    sender_ptr: Tensor,
    kinds: Tensor,
    form: str,
    table: str,
    cutoff: float,
) -> Tensor:
    """Return A."""
    out = h.new_empty(h.shape[0], table_named(table).output.dim, h.shape[2])
    write_forward(
        (h, y, r, s),
        Edges(index, receiver_ptr, order, sender_ptr, kinds),
        form,
        table,
        cutoff,
        out,
        _node_ranges(receiver_ptr, s),
    )
    return out


def write_forward(
    tensors: Sequence[Tensor],
    edges: Edges,
    form: str,
    table: str,
    cutoff: float,
    out: Tensor,
    ranges: Sequence[NodeRange],
) -> None:
    """Write A of h, y, r, s to `out`, contiguous; ranges: of receivers, a thread each."""
    h, y, r, s = tensors
    walk = edges.index[0], edges.kinds, edges.receiver_ptr
    inputs = arrays(h, y, r, flat(s), *walk)
    kernels = kernels_of(form, table, s.dtype, together(s))
    threads.run(kernels.forward, inputs, knots_map(s, cutoff), arrays(out), ranges)


def backward(  # noqa: PLR0913, PLR0917
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor,
    index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, kinds: Tensor,
    form: str, table: str, cutoff: float, wants_s: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return dh, dy, dr, ds; ds is empty without `wants_s`."""
    dh, dy, dr = gradients = [
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (h, y, r)
    ]
    edges = Edges(index, receiver_ptr, order, sender_ptr, kinds)
    return (
        dh,
        dy,
        dr,
        write_backward(
            (h, y, r, s, g),
            edges,
            form,
            table,
            cutoff,
            gradients,
            _node_ranges(sender_ptr, s),
            wants_s=wants_s,
        ),
    )


def write_backward(
    tensors: Sequence[Tensor],
    edges: Edges,
    form: str,
    table: str,
    cutoff: float,
    gradients: Sequence[Tensor],
    ranges: Sequence[NodeRange],
    *,
    wants_s: bool,
) -> Tensor:
    """Write dh, dy, dr of h, y, r, s, g to `gradients`, contiguous.

    Return ds, empty without `wants_s`. ranges: of senders.
    """
    h, y, r, s, g = tensors
    kernels = kernels_of(form, table, s.dtype, together(s))
    walk = edges.index[1], edges.sender_order, edges.kinds, edges.sender_ptr
    inputs = arrays(h, y, r, flat(s), g, *walk)
    ds = _partial(s, len(ranges)) if wants_s else s.new_empty(len(ranges), 0, 0, 0)
    threads.run(
        kernels.backward,
        inputs,
        knots_map(s, cutoff),
        arrays(*gradients),
        ranges,
        of_range=ds.numpy(),
    )
    return ds.sum(0).view_as(s) if wants_s else ds.sum(0)


def double_backward(  # noqa: PLR0913, PLR0917
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor,
    u: Tensor, v: Tensor, w: Tensor, z: Tensor | None,
    index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, kinds: Tensor,
    form: str, table: str, cutoff: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return dh, dy, dr, ds, dg of <u, dh> + <v, dy> + <w, dr> + <z, ds>."""
    kernels, ranges, numbers = (
        kernels_of(form, table, h.dtype, together(s)),
        _node_ranges(sender_ptr, s),
        knots_map(s, cutoff),
    )
    cotangents = u, v, w, s.new_empty(0, 0, 0) if z is None else flat(z)
    dh, dy, dr, dg = (
        torch.empty_like(x, memory_format=torch.contiguous_format) for x in (h, y, r, g)
    )
    ds = _partial(s, len(ranges))
    inputs = arrays(h, y, r, flat(s), g, *cotangents, index[1], order, kinds, sender_ptr)
    threads.run(
        kernels.double_by_sender, inputs, numbers, arrays(dh, dy, dr), ranges, of_range=ds.numpy()
    )
    inputs = arrays(h, y, r, flat(s), *cotangents, index[0], kinds, receiver_ptr)
    threads.run(
        kernels.double_by_receiver, inputs, numbers, arrays(dg), _node_ranges(receiver_ptr, s)
    )
    return dh, dy, dr, ds.sum(0).view_as(s), dg


class _Kernels(NamedTuple):
    """The kernels of one table; each is called with the nodes' range, inputs, numbers and outputs.

    An empty z or ds is left out.
    """

    forward: Callable
    backward: Callable
    double_by_receiver: Callable
    double_by_sender: Callable


def flat(s: Tensor) -> Tensor:
    """Return the splines of all kinds one after the other: (rows, paths, C)."""
    return s.flatten(0, -3)


def _partial(s: Tensor, n_ranges: int) -> Tensor:
    """Return memory for what each range of nodes adds to ds."""
    return s.new_empty(n_ranges, *flat(s).shape)


def together(s: Tensor) -> int:
    """How many paths' coefficients, of one kind of edges, fit into the cache of a core together."""
    return max(1, round(_CACHE / (s.shape[-3] * s.shape[-1] * s.element_size())))


@functools.lru_cache
def kernels_of(form: str, name: str, dtype: torch.dtype, n_together: int) -> _Kernels:
    """Return the `specialized` or `generic` kernels of a table for float32 or float64.

    Numba compiles each at its first call. name: of the table.
    """
    table, type_name = table_named(name), str(dtype).removeprefix("torch.")
    if form == "specialized":
        module = jit_cache.load(
            numba_module.source(table, type_name, min(n_together, len(table.paths)) or 1)
        )
        return _Kernels(
            module.forward, module.backward, module.double_by_receiver, module.double_by_sender
        )
    generic = compiled.convolution
    pairs = generic.pairs_of(table, np.dtype(type_name).type)
    kernels = (
        generic.forward,
        generic.backward,
        generic.double_by_receiver,
        generic.double_by_sender,
    )
    return _Kernels(*(functools.partial(kernel, *pairs) for kernel in kernels))


def knots_map(s: Tensor, cutoff: float) -> tuple[int, np.floating, np.floating, np.floating]:
    """The intervals, the cutoff and the numbers of the knots' map, in the coefficients' dtype."""
    return _map_of(s.shape[-3] - 3, cutoff, s.dtype)


@functools.lru_cache
def _map_of(
    n_intervals: int, cutoff: float, dtype: torch.dtype
) -> tuple[int, np.floating, np.floating, np.floating]:
    number = np.dtype(str(dtype).removeprefix("torch.")).type
    scale, shift = splines.map_numbers(n_intervals, cutoff)
    return n_intervals, number(cutoff), number(scale), number(shift)


def _node_ranges(pointers: Tensor, s: Tensor) -> list[NodeRange]:
    return threads.cut(pointers.numpy(), cost=s.shape[-2] * s.shape[-1])
