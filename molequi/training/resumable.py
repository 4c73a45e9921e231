"""What a run goes on from: its model, optimiser and averaged weights, and where it stands.

The state makes a run resumable bit for bit on the CPU.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn

from molequi.models.molecular import MolecularModel
from molequi.training.clock import Clock
from molequi.training.ema import EMA
from molequi.training.optimizers.registry import OPTIMIZERS
from molequi.training.processes import sum_over_processes
from molequi.training.saved_state import refuse_unlike, refuse_useless
from molequi.training.schedule import EarlyStopping, Schedule
from molequi.training.state import Position


class ResumableTraining(LightningModule):
    """Keeps all that a run is saved with, and starts where another one ended.

    n_terms: of the loss, whose sums over an epoch are kept. clock: of the run; another one may be
    set before the run starts.
    """

    def __init__(
        self,
        model: MolecularModel,
        schedule: Schedule,
        n_terms: int,
        *,
        optimizer: str,
        weight_decay: float,
        ema: float,
    ) -> None:
        super().__init__()
        self.model, self.schedule = model, schedule
        self.optimizer, self.weight_decay = optimizer, weight_decay
        self.average = EMA(model, ema)
        self.position, self.stopping, self.clock = Position(), EarlyStopping(), Clock()
        self.stop_reason = ""
        # Rows: sum of losses, number of components, of each term in this epoch.
        self.train_sums = torch.zeros(2, n_terms, dtype=torch.float64)
        self._resumed_optimizer: dict[str, Any] | None = None
        self._resumed_epoch = False

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser of what is not frozen."""
        return self._optimizer_of(self.model)

    def _optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        return OPTIMIZERS[self.optimizer](
            model, learning_rate=self.schedule.learning_rate, weight_decay=self.weight_decay
        )

    @property
    def plain_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser without Lightning's wrapping."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"one optimiser was configured, Lightning gave {optimizer!r}")
        return optimizer

    def on_fit_start(self) -> None:
        """Put what is not a parameter on the device of the parameters, in memory of its own."""
        self.average.to(self.device)
        self.train_sums = self.train_sums.to(self.device, copy=True)
        if self.global_rank:
            # The sums of an epoch that is resumed are those of all processes together: the first
            # one carries them on.
            self.train_sums.zero_()

    def on_train_start(self) -> None:
        """Restore the optimiser, start the clock."""
        if self._resumed_optimizer is not None:
            # A copy, because the optimiser keeps the tensors, and spawned processes receive them in
            # shared memory.
            self.plain_optimizer.load_state_dict(copy.deepcopy(self._resumed_optimizer))
            self._resumed_optimizer = None
        self.clock.start(self.position.seconds)

    def on_train_epoch_start(self) -> None:
        """Forget the sums of the epoch before, unless an interrupted epoch goes on."""
        if not self._resumed_epoch:
            self.train_sums.zero_()
            # A resumed epoch had a shorter loader; from now on the loader is complete and stays.
            self.trainer.reload_dataloaders_every_n_epochs = 0  # type: ignore[attr-defined]
        self._resumed_epoch = False

    def total_train_sums(self) -> Tensor:
        """Return the sums of this epoch over all processes; all of them must ask."""
        if self.trainer.world_size == 1:
            return self.train_sums.clone()
        return sum_over_processes(self.train_sums)

    def run_state(self) -> dict[str, Any]:
        """Return tensors and plain values from which `load_run_state` goes on exactly.

        `train_sums` are those of this process. A state that was loaded is there from the start:
        callbacks begin before `on_train_start` gives it to the optimiser.
        """
        optimizer = self._resumed_optimizer or self.plain_optimizer.state_dict()
        return {**self._own_state(), "optimizer": optimizer}

    def _own_state(self) -> dict[str, Any]:
        """Return the state without the optimiser, which is made when the run starts."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "position": dataclasses.asdict(self.position),
            "watch": dataclasses.asdict(self.stopping),
            "train_sums": self.train_sums,
            "stop_reason": self.stop_reason,
        }

    def load_run_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `run_state` gave; the optimiser follows when the run starts.

        What `saved_state` raises for a state of no such run.
        """
        refuse_unlike({name: state[name] for name in self._own_state()}, self._own_state())
        refuse_useless(state["optimizer"], self.model, self._optimizer_of)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.position = Position(**state["position"])
        self.stopping = EarlyStopping(**state["watch"])
        self.train_sums = state["train_sums"].clone()
        self.stop_reason = state["stop_reason"]
        self._resumed_optimizer = state["optimizer"]
        self._resumed_epoch = self.position.batch > 0
