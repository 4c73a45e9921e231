"""Training through the integrator: epochs of Adam on the error of integrated states."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from molequi.errors import NotConvergedError
from molequi.hamiltonian.config import DynamicsConfig
from molequi.hamiltonian.data import DynamicsData
from molequi.hamiltonian.evaluation import segment_error
from molequi.hamiltonian.mechanics import N_STAGES, N_TRANSITIONS, Segments, draw_angles
from molequi.hamiltonian.potential import MolecularPotential
from molequi.hamiltonian.setup import learning_rate
from molequi.training.schedule import EarlyStopping

logger = logging.getLogger(__name__)


class DynamicsRun:
    """The state of a training: weights, optimiser, schedule, history, the best weights so far.

    history: of each epoch `epoch`, the training `loss` and the validation error `valid`.
    """

    def __init__(self, config: DynamicsConfig, data: DynamicsData, model: nn.Module) -> None:
        self.settings, self.model = config.training, model
        parameter = next(model.parameters())
        self.train, self.valid = data.train.like(parameter), data.valid.like(parameter)
        self.scales = data.scales.to(parameter)
        self.n_epochs = self.settings.epochs or round(100 * math.sqrt(1000 / data.train.n_systems))
        n_batches = math.ceil(self.train.n_systems / self.settings.batch_size)
        if isinstance(model, MolecularPotential):
            model.choose_kernels(
                self.n_epochs * n_batches * N_STAGES * N_TRANSITIONS * self.settings.substeps,
                min(self.settings.batch_size, self.train.n_systems),
            )
        self.optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate(config))
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            self.optimiser, self.n_epochs * n_batches
        )
        self.history: list[dict[str, float]] = []
        self.stopping = EarlyStopping()
        self.best: dict[str, Tensor] = _copy(model)

    def is_done(self) -> bool:
        """Tell whether all epochs are over, or the patience."""
        patience = self.settings.patience
        return len(self.history) >= self.n_epochs or (
            patience is not None and self.stopping.epochs_since_best >= patience
        )

    def epoch(self) -> dict[str, float]:
        """Train for one epoch and validate; returns its line of the history.

        The order of segments and the lifts follow from seed and epoch.
        """
        number = len(self.history)
        generator = torch.Generator().manual_seed((self.settings.seed << 20) + number)
        order, total = torch.randperm(self.train.n_systems, generator=generator), 0.0
        for rows in order.split(self.settings.batch_size):
            batch = self.train.pick(rows.to(self.scales.device))
            lifted = batch._replace(systems=draw_angles(batch.systems, generator))
            total += self._step(lifted) * len(rows)
        loss, valid = total / self.train.n_systems, self._validate()
        self.history.append({"epoch": number, "loss": loss, "valid": valid})
        if self.stopping.observe(valid, number):
            self.best = _copy(self.model)
        logger.info("epoch %d  loss %.3g  valid %.3g", number + 1, loss, valid)
        return self.history[-1]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "stopping": dataclasses.asdict(self.stopping),
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another run with the same settings."""
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.history, self.best = list(state["history"]), dict(state["best"])
        self.stopping = EarlyStopping(**state["stopping"])

    def _step(self, batch: Segments) -> float:
        loss = segment_error(self.model, batch, self.scales, n_substeps=self.settings.substeps)
        if not bool(torch.isfinite(loss)):
            raise NotConvergedError(
                f"the loss is not finite in epoch {len(self.history) + 1}; lower "
                "training.learning_rate"
            )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return float(loss.detach())

    @torch.no_grad()
    def _validate(self) -> float:
        rows, total = torch.arange(self.valid.n_systems, device=self.scales.device), 0.0
        for some in rows.split(self.settings.batch_size):
            error = segment_error(
                self.model,
                self.valid.pick(some),
                self.scales,
                n_substeps=self.settings.substeps,
            )
            total += float(error) * len(some)
        return total / self.valid.n_systems if math.isfinite(total) else math.inf


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
