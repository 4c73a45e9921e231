"""The symmetric contraction on the CPU: kernels over the nodes behind two torch operators.

B_i[k,c] = sum_p w[s_i,p,c] P_p[k](x_i[:,c]) and its gradients run in `compiled.contraction`, the
backward of the backward, of training on forces and of Hessians, in `compiled.contraction_tangents`.
Where third derivatives may follow it is made by autograd of `reference.contract`, so that
derivatives of any order exist.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.library import custom_op

from molequi.kernels import compiled, reference, threads
from molequi.kernels.contraction_terms import name_of, named, program
from molequi.kernels.derivatives import LinearOperator, make_differentiable
from molequi.kernels.edges import NodeRange
from molequi.kernels.tables import arrays
from molequi.o3.symmetric import Polynomials


def contract(x: Tensor, w: Tensor, species: Tensor, polynomials: Polynomials) -> Tensor:
    """Compute what `reference.contract` computes, arguments as there."""
    return _forward(x, w, species, name_of(polynomials))


def forward(x: Tensor, w: Tensor, species: Tensor, polynomials: str) -> Tensor:
    """Return B."""
    out = x.new_empty(x.shape[0], named(polynomials).output.dim, x.shape[2])
    ranges = _node_ranges(x, program(polynomials, x.dtype).cost)
    write_forward((x, w, species), polynomials, out, ranges)
    return out


def write_forward(
    tensors: Sequence[Tensor], polynomials: str, out: Tensor, ranges: Sequence[NodeRange]
) -> None:
    """Write B of x, w, species to `out`, contiguous; ranges: of nodes, a thread each."""
    kernel = functools.partial(compiled.contraction.forward, *program(polynomials, out.dtype))
    threads.run(kernel, arrays(*tensors), (), arrays(out), ranges)


def backward(
    x: Tensor, w: Tensor, g: Tensor, species: Tensor, polynomials: str, wants_w: bool
) -> tuple[Tensor, Tensor]:
    """Return dx, dw; dw is empty without `wants_w`."""
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    ranges = _node_ranges(x, 3 * program(polynomials, x.dtype).cost)
    return dx, write_backward((x, w, g, species), polynomials, dx, ranges, wants_w=wants_w)


def write_backward(
    tensors: Sequence[Tensor],
    polynomials: str,
    out: Tensor,
    ranges: Sequence[NodeRange],
    *,
    wants_w: bool,
) -> Tensor:
    """Write dx of x, w, g, species to `out`, contiguous; return dw, empty without `wants_w`."""
    x, w, _, _ = tensors
    parts = x.new_empty(len(ranges), *(w.shape if wants_w else (0, 0, 0)))
    kernel = functools.partial(compiled.contraction.backward, *program(polynomials, x.dtype))
    threads.run(kernel, arrays(*tensors), (), arrays(out), ranges, of_range=parts.numpy())
    return parts.sum(0)


def double_backward(
    x: Tensor, w: Tensor, g: Tensor, u: Tensor, z: Tensor | None, species: Tensor, polynomials: str
) -> tuple[Tensor, ...]:
    """Return dx, dw, dg of <u, dx> + <z, dw>, differentiable where autograd records."""
    if torch.is_grad_enabled():
        return _double_backward_again(x, w, g, u, z, species, polynomials)
    dx, dg = (torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, g))
    steps = program(polynomials, x.dtype)
    ranges = _node_ranges(x, 6 * steps.cost)
    dw = w.new_empty(len(ranges), *w.shape)
    kernel = functools.partial(compiled.contraction_tangents.double_backward, *steps)
    inputs = arrays(x, w, g, u, torch.zeros_like(w) if z is None else z, species)
    threads.run(kernel, inputs, (), arrays(dx, dg), ranges, of_range=dw.numpy())
    return dx, dw.sum(0), dg


def _double_backward_again(
    x: Tensor, w: Tensor, g: Tensor, u: Tensor, z: Tensor | None, species: Tensor, polynomials: str
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        # Views, for g may be a function of x, which must not be gone through here.
        inputs = [
            t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in (x, w, g)
        ]
        out = reference.contract(inputs[0], inputs[1], species, named(polynomials))
        dx, dw = torch.autograd.grad(out, inputs[:2], inputs[2], create_graph=True)
        total = (u * dx).sum() if z is None else (u * dx).sum() + (z * dw).sum()
        return torch.autograd.grad(
            total, inputs, create_graph=True, allow_unused=True, materialize_grads=True
        )


_forward = custom_op("molequi::contract", forward, mutates_args=())
_backward = custom_op("molequi::contract_backward", backward, mutates_args=())
make_differentiable(LinearOperator(_forward, _backward, double_backward), n_tensors=2)


def _node_ranges(x: Tensor, cost: int) -> list[NodeRange]:
    return threads.cut(np.arange(x.shape[0] + 1), cost=cost * x.shape[2])


@_forward.register_fake
def _(x: Tensor, w: Tensor, species: Tensor, polynomials: str) -> Tensor:
    return x.new_empty(x.shape[0], named(polynomials).output.dim, x.shape[2])


@_backward.register_fake
def _(
    x: Tensor, w: Tensor, g: Tensor, species: Tensor, polynomials: str, wants_w: bool
) -> tuple[Tensor, ...]:
    return x.new_empty(x.shape), w.new_empty(w.shape if wants_w else (0, 0, 0))
