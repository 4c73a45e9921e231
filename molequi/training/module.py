"""The Lightning module: one optimiser step, one validation.

Every loss term is a sum over known components divided by their number over all processes. Lightning
averages gradients over processes, so the local loss is multiplied by their number: N processes take
the step that one process would.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor

from molequi.datasets.sampler import TrainingBatch, mix_seed
from molequi.errors import NotConvergedError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.runtime.signals import SignalWatch
from molequi.training.doubt import DoubtObjective, doubt_heads
from molequi.training.likelihood import Likelihood
from molequi.training.loss import Objective, atom_counts
from molequi.training.metrics import (
    EpochSummary,
    ErrorSums,
    add_across_processes,
    add_errors,
    metric_names,
)
from molequi.training.predictions import derivatives, with_others
from molequi.training.processes import share_step
from molequi.training.resumable import ResumableTraining
from molequi.training.schedule import Schedule
from molequi.training.symmetry import BY_THE_NETWORK, ByTheNetwork


class MolecularTraining(ResumableTraining):
    """Trains a model on an objective along a schedule.

    The settings are those of `training.settings`. symmetry: what training does for the symmetry.
    summary: of the last epoch, None before there is one.
    """

    # The averaged weights, while they are validated.
    frozen: FrozenModel

    def __init__(
        self,
        model: MolecularModel,
        objective: Objective,
        schedule: Schedule,
        *,
        symmetry: ByTheNetwork = BY_THE_NETWORK,
        optimizer: str = "soap",
        weight_decay: float = 0.0,
        ema: float = 0.99,
        gradient_clip: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            model,
            schedule,
            len(objective.names),
            optimizer=optimizer,
            weight_decay=weight_decay,
            ema=ema,
        )
        self.objective, self.symmetry = objective, symmetry
        self.gradient_clip, self.seed = gradient_clip, seed
        self.doubt = DoubtObjective([head.target for head in doubt_heads(model).values()])
        self.likelihood = Likelihood(model)
        # Which derivatives of the energy the targets ask for.
        self.derivatives = derivatives([row.name for row in objective.rows])
        self.n_batches = 1
        # Whether a signal asked this process to stop, and whether all processes know of it.
        self.signals, self.is_stop_agreed = SignalWatch(), False
        self.summary: EpochSummary | None = None
        self.errors: dict[str, ErrorSums] = {}

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        """Return the loss of this process's part of the batch."""
        self._seed_step()
        graph, targets, beside = self.symmetry.batch(batch)
        local, *others = (
            part.counts(targets) for part in (self.objective, self.doubt, self.likelihood)
        )
        sizes = [len(local), *map(len, others)]
        counts, doubted, likely = self._count_everywhere(torch.cat([local, *others])).split(sizes)
        progress = self.schedule.progress(self.position, self.n_batches)
        members = self.likelihood.asks_for_forces(progress)
        compute = functools.partial(
            self.model.compute, **self.derivatives, create_graph=True, members=members
        )
        outputs = with_others(compute(graph), beside, compute)
        sums = self.objective.sums(outputs, targets, graph)
        doubts, spreads = (part.sums(outputs, targets) for part in (self.doubt, self.likelihood))
        weights = self.objective.weights(self.schedule.weights_at(progress), sums.device)
        loss = self.trainer.world_size * (
            (weights * sums / counts.clamp(min=1)).sum()
            + (doubts / doubted.clamp(min=1)).sum()
            + (spreads / likely.clamp(min=1)).sum()
        ) + self.symmetry.penalty(compute, graph, outputs, weights)
        if not torch.isfinite(loss):
            bad = ", ".join(self.objective.not_finite(sums)) or "all targets"
            raise NotConvergedError(self._nonfinite_message(f"the loss of {bad}"))
        self.train_sums[0] += sums.detach()
        self.train_sums[1] += local
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradient; that of the spreads by itself, for it must change nothing.

        A gradient that is not finite ends the run before it touches the weights.
        """
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        apart = {
            id(weight) for head in doubt_heads(self.model).values() for weight in head.parameters()
        }
        for is_doubt in (False, True):
            part = [weight for weight in weights if (id(weight) in apart) == is_doubt]
            norm = torch.nn.utils.clip_grad_norm_(part, self.gradient_clip, foreach=True)
            if not torch.isfinite(norm):
                raise NotConvergedError(self._nonfinite_message("the gradient"))

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Any = None,
    ) -> None:
        """Set the rate of this step, take it, and let the averaged weights follow."""
        self._enter_stage()
        rate = self.schedule.rate(self.position, self.n_batches, self.stopping)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step(closure=optimizer_closure)
        self.average.update()
        self._move_on()

    def on_validation_start(self) -> None:
        """Validate the averaged weights, by a frozen copy: as fast as a prediction."""
        with self.average.applied():
            self.frozen = self.model.freeze()
        self.errors = {name: ErrorSums() for name in metric_names(self.objective.rows)}

    def validation_step(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Add up the errors of this process's part of the batch."""
        graph, targets, beside = batch
        compute = functools.partial(self.frozen.compute, **self.derivatives)
        outputs = with_others(compute(graph), beside, compute)
        add_errors(self.errors, self.objective.rows, outputs, targets, atom_counts(graph))

    def on_validation_end(self) -> None:
        """Close the epoch and decide whether to go on."""
        del self.frozen
        add_across_processes(self.errors)
        self.summary = self._close_epoch(
            {name: sums.result() for name, sums in self.errors.items()}
        )
        self.position.epoch, self.position.batch = self.position.epoch + 1, 0
        self.stop_reason = (
            self.schedule.reason_to_stop(self.position, self.stopping, self.n_batches) or ""
        )
        self.trainer.should_stop = bool(self.stop_reason)

    def _close_epoch(self, valid: Mapping[str, Mapping[str, Any]]) -> EpochSummary:
        """Take the validation errors of this epoch to the schedule, and sum the epoch up."""
        position, sums = self.position, self.total_train_sums()
        losses = (sums[0] / sums[1].clamp(min=1)).tolist()
        score = self.objective.score(valid, self.schedule.final_weights)
        done = self.schedule.progress(position, self.n_batches)
        if self.likelihood.is_still_to_come(done - 1.0 / self.schedule.epochs):
            self.stopping.best = math.inf
        is_best = self.stopping.observe(score, position.epoch)
        self.stopping.factor = self.schedule.factor_after(self.stopping)
        return EpochSummary(
            epoch=position.epoch,
            step=position.step,
            seconds=position.seconds,
            learning_rate=self.schedule.rate(position, self.n_batches, self.stopping),
            train=dict(zip(self.objective.names, losses, strict=True)),
            valid=valid,
            score=score,
            is_best=is_best,
        )

    def _enter_stage(self) -> None:
        """Forget the gradients of the past when the loss weights change, and the epochs waited.

        Adam and its kin scale steps by them; where the new gradients are larger, thousands
        of steps would be too long. The best score stays: it means the same in both stages.
        """
        is_last = self.schedule.is_last_stage(self.schedule.progress(self.position, self.n_batches))
        if self.schedule.second_stage is not None and is_last != bool(self.position.stage_step):
            self.plain_optimizer.state.clear()
            self.stopping.epochs_since_best = 0
            # A run that was given more epochs is in its first stage again.
            self.position.stage_step = self.position.step if is_last else 0

    def _move_on(self) -> None:
        """Count the step; end the epoch early when the time budget is used up."""
        self.position.batch += 1
        self.position.step += 1
        if self.trainer.world_size == 1:
            self.position.seconds = self.clock.seconds()
        if self.schedule.is_over_budget(self.position):
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
        """Add up the counts of all processes, and let them agree on the time and on stopping."""
        if self.trainer.world_size == 1:
            return local
        shared = share_step(
            local,
            seconds=0.0 if self.global_rank else self.clock.seconds(),
            is_stop_requested=self.signals.number != 0,
        )
        self.position.seconds, self.is_stop_agreed = shared.seconds, shared.is_stop_requested
        return shared.counts

    def _nonfinite_message(self, what: str) -> str:
        return (
            f"{what} is not a finite number in epoch {self.position.epoch}, batch "
            f"{self.position.batch} (counted from 0); the files hold the last good weights: look "
            "for wrong labels, or lower training.learning_rate"
        )
