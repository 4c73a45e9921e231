"""Networks put into evaluation or training for a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def modes_kept(network: nn.Module) -> Iterator[None]:
    """After this context every module trains, or does not, as before it: some may be frozen."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, is_training in modes:
            module.training = is_training
