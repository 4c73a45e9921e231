"""Tensors that follow from plain arguments, made once and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def kept_constants(make: Callable[..., T]) -> Callable[..., T]:
    """Keep what `make` returns: tensors that follow from its hashable arguments alone.

    A tensor belongs for ever to the mode in which it was made: one of `torch.inference_mode` cannot
    be saved for a gradient, one of a `torch.func` transform ends with it. Modes belong to a thread,
    so that constants are made in a thread of their own.
    """

    @functools.lru_cache(maxsize=256)
    def kept(*arguments: object) -> T:
        with ThreadPoolExecutor(max_workers=1) as thread:
            return thread.submit(make, *arguments).result()

    @functools.wraps(make)
    def constants(*arguments: object) -> T:
        # A compiler traces what makes them, and keeps the result itself.
        return make(*arguments) if torch.compiler.is_dynamo_compiling() else kept(*arguments)

    return constants
