"""Tensors that follow from weights alone, kept while the weights stay as they are.

A prediction needs no gradients of the weights. What is computed from them only, scaled weights or
radial functions at the knots, is then the same in every call, and for a molecule of twenty atoms it
costs as much as all the rest.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T")
_state = threading.local()


@contextlib.contextmanager
def weights_at_rest(model: nn.Module, *, first_derivatives_only: bool = False) -> Iterator[None]:
    """Within this context `derived` may keep results for as long as no parameter or buffer of `model` changes.

    first_derivatives_only: nobody will differentiate twice, or with respect to the weights;
    `is_differentiated_once` then says so.
    """
    fingerprint = [
        (tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in _tensors_of(model)
    ]
    if model.__dict__.get("_resting", (None,))[0] != fingerprint:
        model.__dict__["_resting"] = fingerprint, object()
    before = getattr(_state, "token", None), getattr(_state, "once", False)
    _state.token, _state.once = model.__dict__["_resting"][1], first_derivatives_only
    try:
        yield
    finally:
        _state.token, _state.once = before


def _tensors_of(model: nn.Module) -> Iterator[torch.Tensor]:
    """Yield all parameters and buffers.

    `Module.parameters` takes longer than a layer, because it looks for shared ones.
    """
    waiting = [model]
    while waiting:
        module = waiting.pop()
        waiting.extend(module._modules.values())
        for kind in (module._parameters, module._buffers):
            for tensor in kind.values():
                if tensor is not None:
                    yield tensor


def is_differentiated_once() -> bool:
    """Tell whether only first derivatives with respect to positions will be asked for, by `weights_at_rest`."""
    return getattr(_state, "once", False)


def derived(module: nn.Module, compute: Callable[[], T]) -> T:
    """Return compute(), one or several tensors that follow from weights and constants of the model alone; one such result per module."""
    token = getattr(_state, "token", None)
    if token is None:
        return compute()
    kept = module.__dict__.get("_derived")
    if kept is None or kept[0] is not token:
        with torch.no_grad():
            kept = module.__dict__["_derived"] = token, compute()
    return kept[1]
