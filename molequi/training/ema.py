"""Averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class EMA:
    """Exponential moving average of the trainable parameters.

    A <- a + (1 - d)(w - a), d = min(decay, (1 + n) / (10 + n)) at step n.

    The rising d (as in TensorFlow's ExponentialMovingAverage) lets the average leave the random
    start at once. decay 0: the weights themselves.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.n_steps = decay, 0
        self.parameters = {
            name: parameter
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }
        self.values = {
            name: parameter.detach().clone() for name, parameter in self.parameters.items()
        }

    @torch.no_grad()
    def update(self) -> None:
        """Follow the weights by one step."""
        self.n_steps += 1
        decay = min(self.decay, (1 + self.n_steps) / (10 + self.n_steps))
        torch._foreach_lerp_(self._averages(), self._weights(), 1.0 - decay)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in the place of the weights for a while."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and average; twice is nothing."""
        for weight, average in zip(self._weights(), self._averages(), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def to(self, device: torch.device) -> None:
        """Give the average memory of its own on the device of the weights.

        What a spawned process receives, it shares with the others.
        """
        self.values = {name: value.to(device, copy=True) for name, value in self.values.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return plain values and tensors."""
        return {"n_steps": self.n_steps, "values": dict(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.n_steps = state["n_steps"]
        for name, value in state["values"].items():
            self.values[name].copy_(value)

    def _weights(self) -> list[Tensor]:
        # The parameters themselves and never their `.data`: a write must move `_version`, by which
        # others see that weights have changed.
        return list(self.parameters.values())

    def _averages(self) -> list[Tensor]:
        return list(self.values.values())
