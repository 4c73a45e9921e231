"""The modes of torch that a caller works in, left where a network has numbers of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

_KINDS = ("cpu", "cuda")


@contextlib.contextmanager
def own_modes() -> Iterator[None]:
    """Leave inference mode, autocast and a default device of the caller; also a decorator.

    What a network keeps between calls serves all modes, its number type is its own, and what it is
    made of is made on the CPU. The default number type is of all threads together and cannot be
    left for one: what is made here depends on none.
    """
    with contextlib.ExitStack() as left:
        if torch.is_inference_mode_enabled():
            left.enter_context(torch.inference_mode(mode=False))
        for kind in _KINDS:
            if torch.is_autocast_enabled(kind):
                left.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":
            left.enter_context(torch.device("cpu"))
        yield
