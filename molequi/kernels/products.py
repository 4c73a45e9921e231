"""Products of a node's features with themselves on the CPU.

Kernels over the nodes behind three torch operators.

As in the convolution, all derivatives of B_i[k,c] = sum_p w[s_i,p,c] sum_(a,b,k) CG[p;a,b,k]
x_i[a,c] y_i[b,c] are the 4-linear form

    T(x, y, w, g) = sum_i sum_p sum_(a,b,k) CG[p;a,b,k] w[s_i,p,c] x_i[a,c] y_i[b,c] g_i[k,c]

with one argument left open. The backward of the backward takes cotangents u, v, z of dx, dy, dw and
is the gradient of L = T(u, y, w, g) + T(x, v, w, g) + T(x, y, z, g). Third derivatives are refused
by autograd.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from torch import Tensor
from torch.library import custom_op

from molequi.kernels import compiled, threads
from molequi.kernels.derivatives import LinearOperator, make_differentiable
from molequi.kernels.edges import NodeRange
from molequi.kernels.tables import arrays, name_of, table_named
from molequi.o3.coupling import CouplingTable


def couple(
    first: Tensor, second: Tensor, weights: Tensor, species: Tensor, table: CouplingTable
) -> Tensor:
    """Compute what `reference.couple` computes, arguments as there; differentiable twice."""
    return _forward(first, second, weights, species, name_of(table))


def forward(x: Tensor, y: Tensor, w: Tensor, species: Tensor, table: str) -> Tensor:
    """Return B."""
    out = x.new_empty(x.shape[0], table_named(table).output.dim, x.shape[2])
    run("forward", table, [x, y, w, species], [out])
    return out


def backward(
    x: Tensor, y: Tensor, w: Tensor, g: Tensor, species: Tensor, table: str, wants_w: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dx, dy, dw; dw is empty without `wants_w`."""
    dx, dy = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, y))
    return (
        dx,
        dy,
        run(
            "backward",
            table,
            [x, y, w, g, species],
            [dx, dy],
            shared=w.shape if wants_w else (0, 0, 0),
        ),
    )


def double_backward(
    x: Tensor,
    y: Tensor,
    w: Tensor,
    g: Tensor,
    u: Tensor,
    v: Tensor,
    z: Tensor | None,
    species: Tensor,
    table: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return dx, dy, dw, dg of <u, dx> + <v, dy> + <z, dw>."""
    dx, dy, dg = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, y, g))
    z = w.new_empty(0, 0, 0) if z is None else z
    return (
        dx,
        dy,
        run("double_backward", table, [x, y, w, g, u, v, z, species], [dx, dy, dg], shared=w.shape),
        dg,
    )


_forward = custom_op("molequi::couple", forward, mutates_args=())
_backward = custom_op("molequi::couple_backward", backward, mutates_args=())
_double_backward = custom_op("molequi::couple_double_backward", double_backward, mutates_args=())


@overload
def run(
    name: str,
    table: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    ranges: Sequence[NodeRange] | None = None,
) -> None: ...


@overload
def run(
    name: str,
    table: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    ranges: Sequence[NodeRange] | None = None,
    *,
    shared: tuple[int, ...],
) -> Tensor: ...


def run(
    name: str,
    table: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    ranges: Sequence[NodeRange] | None = None,
    *,
    shared: tuple[int, ...] | None = None,
) -> Tensor | None:
    """Write to `outputs`, contiguous, in a thread for each of `ranges`.

    ranges: of nodes, by default those worth a thread. What the threads add to an array of
    shape `shared` is summed and returned.
    """
    like = inputs[0]
    terms, values = _terms(table, like.dtype)
    ranges = ranges or threads.cut(np.arange(like.shape[0] + 1), cost=len(values) * like.shape[2])
    parts = None if shared is None else like.new_empty(len(ranges), *shared)
    kernel = functools.partial(getattr(compiled.products, name), terms, values)
    threads.run(
        kernel,
        arrays(*inputs),
        (),
        arrays(*outputs),
        ranges,
        of_range=None if parts is None else parts.numpy(),
    )
    return None if parts is None else parts.sum(0)


@functools.lru_cache
def _terms(name: str, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    table = table_named(name)
    terms = np.stack(
        [table.path, table.component_first, table.component_second, table.component_output], axis=1
    )
    order = np.lexsort(
        (table.component_second, table.component_first, table.component_output, table.path)
    )
    return terms[order], table.value[order].astype(str(dtype).removeprefix("torch."))


make_differentiable(LinearOperator(_forward, _backward, _double_backward), n_tensors=3)


@_forward.register_fake
def _(x: Tensor, y: Tensor, w: Tensor, species: Tensor, table: str) -> Tensor:
    return x.new_empty(x.shape[0], table_named(table).output.dim, x.shape[2])


@_backward.register_fake
def _(
    x: Tensor, y: Tensor, w: Tensor, g: Tensor, species: Tensor, table: str, wants_w: bool
) -> tuple[Tensor, ...]:
    return (
        x.new_empty(x.shape),
        y.new_empty(y.shape),
        w.new_empty(w.shape if wants_w else (0, 0, 0)),
    )


@_double_backward.register_fake
def _(x: Tensor, y: Tensor, w: Tensor, g: Tensor, *rest: object) -> tuple[Tensor, ...]:
    return tuple(t.new_empty(t.shape) for t in (x, y, w, g))
