"""What a run must remember to continue exactly: averaged weights and position.

And the file that holds it all.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from molequi.errors import UserError

FORMAT = 1


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
        return [parameter.data for parameter in self.parameters.values()]

    def _averages(self) -> list[Tensor]:
        return list(self.values.values())


@dataclasses.dataclass
class Position:
    """Where a run stands.

    batch: batches of the current epoch that are done. step: optimiser steps in all. seconds: time
    spent so far. stage_step: the step at which the second stage of the loss began, 0 before.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    stage_step: int = 0


def is_first_process() -> bool:
    """Whether this process writes for all those that a launcher (torchrun, SLURM) started.

    True where there is no launcher.
    """
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def write_state(state: Mapping[str, Any], path: Path) -> None:
    """Write tensors and plain values to `path`, complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save({"format": FORMAT, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_state(path: Path) -> dict[str, Any]:
    """Read what `write_state` wrote; nothing in the file is executed.

    Raises UserError for a missing, damaged or foreign file.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing, so there is nothing to resume; start without --resume")
    try:
        if not zipfile.is_zipfile(path):
            raise EOFError("it is damaged or no checkpoint")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path} cannot be read ({str(error).splitlines()[0]}); start again with --overwrite"
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise UserError(
            f"{path} has format {found}; this version resumes format {FORMAT}; start again with "
            "--overwrite"
        )
    return state
