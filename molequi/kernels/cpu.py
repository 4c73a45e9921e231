"""The fused convolution on the CPU: numba sweeps over the edges behind three torch operators.

All derivatives of the convolution are the 4-linear form

    T(h, Y, R, g) = sum_e sum_p sum_(a,b,k) CG[p;a,b,k] h_j[a,c] Y_e[b] R_e[p,c] g_i[k,c]

with one argument left open, where R_e[p,c] = sum_k B_k(r_e) s[n_e + k, p, c] is a cubic B-spline (the four basis functions that are not zero on the
interval n_e of r_e): T is linear in the coefficients s too, and r enters through B, B' and B''. With q_e[p,c] = sum CG h_j Y_e g_i:

    forward    A_i   = sum_e CG h_j Y_e R_e                                            edges by receiver
    backward   dh_j  = sum_e CG Y_e R_e g_i,   dY_e = sum_c CG h_j R_e g_i,            edges by sender
               dr_e  = sum_pc R'_e q_e,        ds[n_e + k] = sum_e B_k q_e

The backward of the backward takes cotangents u, v, w, z of dh, dY, dr, ds. It is the gradient of
L = sum_e sum_pc [R_e (q[u,Y,g] + q[h,v,g]) + W_e q[h,Y,g]] with W_e = w_e R'_e + sum_k B_k z[n_e + k]: the same form again, swept once by sender
(dh, dY, dr, ds) and once by receiver (dg). A sweep accumulates what belongs to its node in cache, writes every row once and needs no atomics:
ds, which all nodes share, gets one array per thread. Third derivatives are refused by autograd.

NaN distances give NaN; from the cutoff on an edge gives zero, exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from molequi.kernels import generate, modules, splines, threads
from molequi.kernels.edges import Edges
from molequi.kernels.operators import arrays, is_wanted, name_of, table_named
from molequi.symmetry.coupling import CouplingTable
from molequi.symmetry.irreps import n_rows


def convolve(
    features: Tensor, harmonics: Tensor, distances: Tensor, coefficients: Tensor, edges: Edges, table: CouplingTable, cutoff: float, kernels: str
) -> Tensor:
    """Compute what `reference.convolve` computes, arguments as there, with `unrolled` or `table` kernels; differentiable twice."""
    return _forward(features, harmonics, distances, coefficients, *edges, f"{kernels} {name_of(table)}", cutoff)


@torch.library.custom_op("molequi::convolve", mutates_args=())
def _forward(
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, table: str, cutoff: float
) -> Tensor:
    sweeps = _sweeps(table, h.dtype)
    out = h.new_empty(h.shape[0], sweeps.n_outputs, h.shape[2])
    threads.run(sweeps.forward, arrays(h, y, r, s, index[0], receiver_ptr), _map(s, cutoff), arrays(out), _chunks(receiver_ptr, s))
    return out


@torch.library.custom_op("molequi::convolve_backward", mutates_args=())
def _backward(  # noqa: PLR0913, PLR0917
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor,
    index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, table: str, cutoff: float, wants_s: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return dh, dy, dr, ds; ds is empty without `wants_s`."""
    sweeps, chunks = _sweeps(table, h.dtype), _chunks(sender_ptr, s)
    inputs = arrays(h, y, r, s, g, index[1], order, sender_ptr)
    dh, dy, dr = gradients = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (h, y, r)]
    ds = s.new_empty(len(chunks), *s.shape) if wants_s else s.new_empty(len(chunks), 0, 0, 0)
    threads.run(sweeps.backward, inputs, _map(s, cutoff), arrays(*gradients), chunks, of_chunk=ds.numpy())
    return dh, dy, dr, ds.sum(0)


@torch.library.custom_op("molequi::convolve_double_backward", mutates_args=())
def _double_backward(  # noqa: PLR0913, PLR0917
    h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, u: Tensor, v: Tensor, w: Tensor, z: Tensor | None,
    index: Tensor, receiver_ptr: Tensor, order: Tensor, sender_ptr: Tensor, table: str, cutoff: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return dh, dy, dr, ds, dg of <u, dh> + <v, dy> + <w, dr> + <z, ds>."""
    sweeps, chunks, numbers = _sweeps(table, h.dtype), _chunks(sender_ptr, s), _map(s, cutoff)
    cotangents = u, v, w, s.new_empty(0, 0, 0) if z is None else z
    dh, dy, dr, dg = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (h, y, r, g))
    ds = s.new_empty(len(chunks), *s.shape)
    inputs = arrays(h, y, r, s, g, *cotangents, index[1], order, sender_ptr)
    threads.run(sweeps.double_by_sender, inputs, numbers, arrays(dh, dy, dr), chunks, of_chunk=ds.numpy())
    inputs = arrays(h, y, r, s, *cotangents, index[0], receiver_ptr)
    threads.run(sweeps.double_by_receiver, inputs, numbers, arrays(dg), _chunks(receiver_ptr, s))
    return dh, dy, dr, ds.sum(0), dg


def _keep_forward(ctx: FunctionCtx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.rest = inputs[4:]


def _forward_gradients(ctx: FunctionCtx, g: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    wants_s = ctx.needs_input_grad[3] and is_wanted(tensors[3])
    dh, dy, dr, ds = _backward(*tensors, g, *ctx.rest, wants_s)
    return (dh, dy, dr, ds if wants_s else None, *(None,) * 6)


def _keep_backward(ctx: FunctionCtx, inputs: tuple, output: tuple[Tensor, ...]) -> None:
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*inputs[:5])
    ctx.rest, ctx.wants_s = inputs[5:11], inputs[11]


def _backward_gradients(ctx: FunctionCtx, u: Tensor | None, v: Tensor | None, w: Tensor | None, z: Tensor | None) -> tuple[Tensor | None, ...]:
    h, y, r, s, g = ctx.saved_tensors
    u, v, w = (torch.zeros_like(x) if cotangent is None else cotangent for cotangent, x in ((u, h), (v, y), (w, r)))
    return (*_double_backward(h, y, r, s, g, u, v, w, z if ctx.wants_s else None, *ctx.rest), *(None,) * 7)


_forward.register_autograd(_forward_gradients, setup_context=_keep_forward)
_backward.register_autograd(_backward_gradients, setup_context=_keep_backward)


@_forward.register_fake
def _(h: Tensor, y: Tensor, r: Tensor, s: Tensor, *rest: object) -> Tensor:
    return h.new_empty(h.shape[0], n_rows(table_named(str(rest[4]).split()[1]).output), h.shape[2])


@_backward.register_fake
def _(h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, *rest: object) -> tuple[Tensor, ...]:
    return (*(x.new_empty(x.shape) for x in (h, y, r)), s.new_empty(s.shape if rest[6] else (0, 0, 0)))


@_double_backward.register_fake
def _(h: Tensor, y: Tensor, r: Tensor, s: Tensor, g: Tensor, *rest: object) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in (h, y, r, s, g))


class _Sweeps(NamedTuple):
    """The sweeps of one table; each is called with the nodes' range, inputs, numbers and outputs. An empty z or ds is left out."""

    n_outputs: int
    forward: Callable
    backward: Callable
    double_by_receiver: Callable
    double_by_sender: Callable


@functools.lru_cache
def _sweeps(name: str, dtype: torch.dtype) -> _Sweeps:
    """Return the sweeps of a table for float32 or float64; numba compiles each at its first call. name: `unrolled 0e+1o|0e+1o|0e`, say."""
    kernels, irreps = name.split()
    table, type_name = table_named(irreps), str(dtype).removeprefix("torch.")
    n_outputs = n_rows(table.output)
    if kernels == "unrolled":
        module = modules.load(generate.source(table, type_name))
        return _Sweeps(n_outputs, module.forward, module.backward, module.double_by_receiver, module.double_by_sender)
    table_sweeps = modules.compiled("table_sweeps")
    walk = table_sweeps.pairs_of(table, np.dtype(type_name).type)
    sweeps = table_sweeps.forward, table_sweeps.backward, table_sweeps.double_by_receiver, table_sweeps.double_by_sender
    return _Sweeps(n_outputs, *(functools.partial(sweep, *walk) for sweep in sweeps))


def _map(s: Tensor, cutoff: float) -> tuple[np.floating, np.floating, np.floating]:
    """The cutoff and the numbers of the knots' map x(r) = scale (1 - shift / (r + shift)), in the dtype of the coefficients."""
    number = np.dtype(str(s.dtype).removeprefix("torch.")).type
    return number(cutoff), number((s.shape[0] - 3) * (1.0 + splines.STRETCH)), number(splines.STRETCH * cutoff)


def _chunks(pointers: Tensor, s: Tensor) -> list[tuple[int, int]]:
    return threads.cut(pointers.numpy(), cost=s.shape[1] * s.shape[2])
