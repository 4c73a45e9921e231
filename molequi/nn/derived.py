"""Tensors that follow from weights alone, kept while the weights stay as they are.

A prediction needs no gradients of the weights. What is computed from them only, scaled weights or radial functions at the knots, is then the same in
every call, and for a molecule of twenty atoms it costs as much as all the rest.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T")
_state = threading.local()


@contextlib.contextmanager
def weights_at_rest(model: nn.Module) -> Iterator[None]:
    """Within this context `derived` may keep results for as long as no parameter or buffer of `model` changes."""
    tensors = itertools.chain(model.parameters(), model.buffers())
    fingerprint = [(tensor.data_ptr(), tensor._version, tensor.dtype) for tensor in tensors]
    if model.__dict__.get("_resting", (None,))[0] != fingerprint:
        model.__dict__["_resting"] = fingerprint, object()
    before, _state.token = getattr(_state, "token", None), model.__dict__["_resting"][1]
    try:
        yield
    finally:
        _state.token = before


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
