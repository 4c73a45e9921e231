"""How an operator that is linear in its tensors gets two derivatives from three kernels.

A fused operator is T(x_1, ..., x_n) with one argument of a multilinear form left open (see
`kernels.convolution`, `kernels.products`). Its backward pass gives the gradients with respect to
all x_k at once, and the backward of that pass all second derivatives at once. The last x_n is
shared by all nodes: its gradient costs a sum over threads and is made on demand alone. Third
derivatives are refused by autograd.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.library import CustomOpDef

from molequi.kernels.tables import is_wanted


class LinearOperator(NamedTuple):
    """An operator and its derivatives, as custom operators of torch; the last may be torch's own.

    forward: (x_1 ... x_n, rest) -> y. backward: (x_1 ... x_n, g, rest, wants_last) -> gradients of
    <g, y>, the last one empty unless wanted. double_backward: (x_1 ... x_n, g, u_1 ... u_n, rest)
    -> gradients of sum_k <u_k, k-th gradient> by x_1 ... x_n and g; u_n may be None. rest:
    arguments without a gradient.
    """

    forward: CustomOpDef
    backward: CustomOpDef
    double_backward: Callable[..., tuple[Tensor, ...]]


def make_differentiable(operator: LinearOperator, n_tensors: int) -> None:
    """Tell autograd the two derivatives of an operator of so many tensors."""

    def keep_forward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:n_tensors])
        ctx.rest = inputs[n_tensors:]

    def forward_gradients(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        wants_last = ctx.needs_input_grad[n_tensors - 1] and is_wanted(tensors[-1])
        *gradients, last = operator.backward(*tensors, g, *ctx.rest, wants_last)
        return (*gradients, last if wants_last else None, *(None for _ in ctx.rest))

    def keep_backward(ctx: Any, inputs: tuple[Any, ...], output: tuple) -> None:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs[: n_tensors + 1])
        *ctx.rest, ctx.wants_last = inputs[n_tensors + 1 :]

    def backward_gradients(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        *tensors, g = ctx.saved_tensors
        known = [
            torch.zeros_like(x) if u is None else u
            for u, x in zip(cotangents[:-1], tensors[:-1], strict=True)
        ]
        last = cotangents[-1] if ctx.wants_last else None
        gradients = operator.double_backward(*tensors, g, *known, last, *ctx.rest)
        return (*gradients, *(None for _ in ctx.rest), None)

    _register(operator.forward, forward_gradients, keep_forward)
    _register(operator.backward, backward_gradients, keep_backward)


def _register(operator: CustomOpDef, gradients: Callable, keep: Callable) -> None:
    operator.register_autograd(gradients, setup_context=keep)
