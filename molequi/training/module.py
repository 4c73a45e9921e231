"""The Lightning module: one optimiser step, one validation, and the state that makes a run resumable bit for bit.

Every loss term is a sum over known components divided by their number over all processes. Lightning
averages gradients over processes, so the local loss is multiplied by their number: N processes take
the step that one process would.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from molequi.datasets.sampler import Batch, mix_seed
from molequi.errors import NotConvergedError
from molequi.models.molecular import MolecularModel
from molequi.properties import Property, part_names
from molequi.runtime.signals import SignalWatch
from molequi.training.loss import Objective, atom_counts
from molequi.training.metrics import ErrorSums, add_across_processes
from molequi.training.parts import split_parts
from molequi.training.schedule import EarlyStopping, Schedule
from molequi.training.state import EMA, Position


class MolecularTraining(LightningModule):
    """Trains a model on an objective along a schedule.

    The settings are those of `config.TrainingSettings`.

    summary: what the last epoch gave: epoch, rate, train losses, validation metrics, score, whether
    it is the best, seconds.
    """

    def __init__(
        self,
        model: MolecularModel,
        objective: Objective,
        schedule: Schedule,
        *,
        weight_decay: float = 0.0,
        ema: float = 0.99,
        gradient_clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model, self.objective, self.schedule = model, objective, schedule
        self.weight_decay, self.gradient_clip, self.seed = weight_decay, gradient_clip, seed
        self.average = EMA(model, ema)
        self.position, self.stopping = Position(), EarlyStopping()
        self.n_batches, self.stop_reason = 1, ""
        # Whether a signal asked this process to stop, and whether all processes know of such a
        # request.
        self.signals, self.is_stop_agreed = SignalWatch(), False
        self.summary: dict[str, Any] = {}
        self.derivatives = {
            name: name in {row.name for row in objective.rows} for name in ("forces", "stress")
        }
        # Rows: sum of losses, number of components, of each target in this epoch.
        self.train_sums = torch.zeros(2, len(objective.names), dtype=torch.float64)
        self.errors: dict[str, ErrorSums] = {}
        self._resumed_optimizer: dict[str, Any] | None = None
        self._resumed_epoch = False
        self._started, self._seconds_before = 0.0, 0.0

    def predict(self, graph: Any, *, create_graph: bool) -> dict[str, Tensor]:
        """Run the model with the derivatives that the targets ask for."""
        if any(self.derivatives.values()):
            return self.model.compute(
                graph, forces=True, stress=self.derivatives["stress"], create_graph=create_graph
            )
        return self.model.compute(graph, forces=False, create_graph=create_graph)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over what is not frozen."""
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            parameters, lr=self.schedule.learning_rate, weight_decay=self.weight_decay, foreach=True
        )

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
            self.optimizers().optimizer.load_state_dict(copy.deepcopy(self._resumed_optimizer))
            self._resumed_optimizer = None
        self._started, self._seconds_before = time.monotonic(), self.position.seconds

    def on_train_epoch_start(self) -> None:
        """Forget the sums of the epoch before, unless this epoch goes on where an interrupted run left it."""
        if not self._resumed_epoch:
            self.train_sums.zero_()
            # A resumed epoch had a shorter loader; from now on the loader is complete and stays.
            self.trainer.reload_dataloaders_every_n_epochs = 0
        self._resumed_epoch = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of this process's part of the batch."""
        graph, targets = batch
        self._seed_step()
        local = self.objective.counts(targets)
        counts = self._count_everywhere(local)
        sums = self.objective.sums(self.predict(graph, create_graph=True), targets, graph)
        progress = self.schedule.progress(self.position, self.n_batches)
        weights = self.objective.weights(self.schedule.weights_at(progress), sums.device)
        loss = self.trainer.world_size * (weights * sums / counts.clamp(min=1)).sum()
        if not torch.isfinite(loss):
            self._stop_nonfinite(sums)
        self.train_sums[0] += sums.detach()
        self.train_sums[1] += local
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradient.

        A gradient that is not finite ends the run before it touches the weights.
        """
        parameters = [
            parameter for group in optimizer.param_groups for parameter in group["params"]
        ]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip, foreach=True)
        if not torch.isfinite(norm):
            raise NotConvergedError(self._nonfinite_message("the gradient"))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: LightningOptimizer,
        optimizer_closure: Any = None,
    ) -> None:
        """Set the rate of this step, take it, and let the averaged weights follow."""
        self._enter_stage(optimizer)
        rate = self.schedule.rate(self.position, self.n_batches, self.stopping.factor)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step(closure=optimizer_closure)
        self.average.update()
        self._move_on()

    def on_validation_start(self) -> None:
        """Validate the averaged weights."""
        self.average.swap()
        self.errors = {name: ErrorSums() for name in metric_names(self.objective.rows)}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up the errors of this process's part of the batch."""
        graph, targets = batch
        add_errors(
            self.errors,
            self.objective.rows,
            self.predict(graph, create_graph=False),
            targets,
            atom_counts(graph),
        )

    def on_validation_end(self) -> None:
        """Return to the weights, close the epoch and decide whether to go on."""
        self.average.swap()
        add_across_processes(self.errors)
        results = {name: errors.result() for name, errors in self.errors.items()}
        train_sums = self.total_train_sums()
        score = self._score(results)
        is_best = self.stopping.observe(score, self.position.epoch)
        self.stopping.factor = self.schedule.plateau_factor(self.stopping)
        rate = self.schedule.rate(self.position, self.n_batches, self.stopping.factor)
        losses = dict(
            zip(
                self.objective.names,
                (train_sums[0] / train_sums[1].clamp(min=1)).tolist(),
                strict=True,
            )
        )
        self.summary = {
            "epoch": self.position.epoch, "step": self.position.step, "seconds": self.position.seconds, "learning_rate": rate,
            "train": losses, "valid": results, "score": score, "is_best": is_best,
        }  # fmt: skip
        self.position.epoch, self.position.batch = self.position.epoch + 1, 0
        self.stop_reason = (
            self.schedule.reason_to_stop(self.position, self.stopping, self.n_batches) or ""
        )
        self.trainer.should_stop = bool(self.stop_reason)

    def total_train_sums(self) -> Tensor:
        """Return the sums of this epoch over all processes; all of them must ask."""
        sums = self.train_sums.clone()
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(sums)
        return sums

    def run_state(self) -> dict[str, Any]:
        """Return tensors and plain values from which `load_run_state` goes on exactly.

        `train_sums` are those of this process.
        """
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizers().optimizer.state_dict(),
            "average": self.average.state_dict(),
            "position": dataclasses.asdict(self.position),
            "watch": dataclasses.asdict(self.stopping),
            "train_sums": self.train_sums,
            "stop_reason": self.stop_reason,
        }

    def load_run_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `run_state` gave; the optimiser follows when the run starts."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.position, self.stopping = (
            Position(**state["position"]),
            EarlyStopping(**state["watch"]),
        )
        self.train_sums = state["train_sums"].clone()
        self.stop_reason = state["stop_reason"]
        self._resumed_optimizer = state["optimizer"]
        self._resumed_epoch = self.position.batch > 0

    def _enter_stage(self, optimizer: LightningOptimizer) -> None:
        """Forget Adam's moments when the loss weights change.

        They scale the steps by the gradients of the past; where the new ones are larger, thousands
        of steps would be too long.
        """
        is_last = self.schedule.is_last_stage(self.schedule.progress(self.position, self.n_batches))
        if self.schedule.second_stage is not None and is_last and not self.position.stage_step:
            optimizer.optimizer.state.clear()
            self.position.stage_step = self.position.step

    def _move_on(self) -> None:
        """Count the step; end the epoch early when the time budget is used up."""
        self.position.batch += 1
        self.position.step += 1
        if self.trainer.world_size == 1:
            self.position.seconds = self._seconds_before + time.monotonic() - self._started
        if (
            self.schedule.max_minutes is not None
            and self.position.seconds >= 60.0 * self.schedule.max_minutes
        ):
            self.trainer.should_stop = True

    def _seed_step(self) -> None:
        """Make whatever is random in a step a function of (seed, epoch, batch, process)."""
        seed = mix_seed(self.seed, self.position.epoch, self.position.batch, self.global_rank)
        # torch.manual_seed would also note the call stack for a GPU that is not there, at every
        # step.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _count_everywhere(self, local: Tensor) -> Tensor:
        """Add up the counts of all processes.

        The clock of the first and requests to stop travel along, so that all stop at the same step.
        """
        if self.trainer.world_size == 1:
            return local
        seconds = (
            self._seconds_before + time.monotonic() - self._started
            if self.global_rank == 0
            else 0.0
        )
        shared = torch.cat([local, local.new_tensor([seconds, float(self.signals.number != 0)])])
        torch.distributed.all_reduce(shared)
        self.position.seconds, self.is_stop_agreed = float(shared[-2]), bool(shared[-1])
        return shared[:-2]

    def _score(self, results: Mapping[str, Mapping[str, Any]]) -> float:
        """Mean over terms of MAE / scale, weighted as the loss is at the end.

        Infinite where an error is not finite.
        """
        total, weight_sum = 0.0, 0.0
        for name, weight in self.objective.by_term(self.schedule.final_weights).items():
            result = results.get(f"{name}_per_atom", results[name])
            mae = float("inf") if result["count"] and result["mae"] is None else result["mae"]
            if mae is not None:
                total += weight * mae / self.objective.scales[name]
                weight_sum += weight
        return total / weight_sum if weight_sum else float("inf")

    def _stop_nonfinite(self, sums: Tensor) -> None:
        bad = [
            name
            for name, value in zip(self.objective.names, sums.detach(), strict=True)
            if not torch.isfinite(value)
        ]
        raise NotConvergedError(
            self._nonfinite_message(f"the loss of {', '.join(bad) or 'all targets'}")
        )

    def _nonfinite_message(self, what: str) -> str:
        return (
            f"{what} is not a finite number in epoch {self.position.epoch}, batch "
            f"{self.position.batch} (counted from 0); "
            "the files hold the last good weights: look for wrong labels, or lower "
            "training.learning_rate"
        )


def metric_names(rows: tuple[Property, ...]) -> list[str]:
    """Return the names under which errors are counted.

    Each row, per atom beside the totals that have references, and each part of a tensor.
    """
    names = []
    for row in rows:
        names += (
            [row.name, f"{row.name}_per_atom"]
            if row.has_reference
            else dict.fromkeys([row.name, *part_names(row)])
        )
    return names


def add_errors(
    errors: Mapping[str, ErrorSums],
    rows: tuple[Property, ...],
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    n_atoms: Tensor,
) -> None:
    """Count the errors of a batch. Yes/no labels are compared as probabilities. n_atoms: (B,)."""
    for row in rows:
        prediction = predictions[row.name].sigmoid() if row.binary else predictions[row.name]
        errors[row.name].add(prediction, targets[row.name])
        if row.has_reference:
            errors[f"{row.name}_per_atom"].add(prediction / n_atoms, targets[row.name] / n_atoms)
        if len(part_names(row)) > 1:
            labels = split_parts(row, targets[row.name])
            for name, part in split_parts(row, prediction).items():
                errors[name].add(part, labels[name])
