"""The plan of a run: how far it is, the learning rate and the loss weights there, when it ends.

A new course of the learning rate is a `RateCourse` and a line in `RATE_COURSES`.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from molequi.runtime.wording import all_of, counted
from molequi.training.settings import TrainingSettings
from molequi.training.state import Position

# Epochs that the plateau schedule counts as patience where a run has none.
_DEFAULT_PATIENCE = 25


@dataclasses.dataclass
class EarlyStopping:
    """Follows the validation score.

    The best one, epochs since then, and the factor that a plateau schedule has reached.
    """

    best: float = math.inf
    best_epoch: int = -1
    epochs_since_best: int = 0
    factor: float = 1.0

    def observe(self, score: float, epoch: int) -> bool:
        """Take the score of an epoch; return whether it is the best so far."""
        if score < self.best:
            self.best, self.best_epoch, self.epochs_since_best = score, epoch, 0
            return True
        self.epochs_since_best += 1
        return False


class RateCourse(ABC):
    """How the learning rate moves over a run after the warm-up, relative to its largest value."""

    @abstractmethod
    def factor(self, progress: float, stopping: EarlyStopping) -> float:
        """Return the factor of the rate at that progress (0 to 1) of the run."""

    def factor_after(self, stopping: EarlyStopping, patience: int | None) -> float:
        """Return the `stopping.factor` with which the next epoch begins."""
        return stopping.factor


class CosineCourse(RateCourse):
    """Half a cosine from 1 to a hundredth, see `cosine`."""

    def factor(self, progress: float, stopping: EarlyStopping) -> float:
        """Return the factor of the rate."""
        return cosine(progress)


class PlateauCourse(RateCourse):
    """Halved whenever a third of the patience has passed without a better score."""

    def factor(self, progress: float, stopping: EarlyStopping) -> float:
        """Return the factor of the rate."""
        return stopping.factor

    def factor_after(self, stopping: EarlyStopping, patience: int | None) -> float:
        """Return the factor with which the next epoch begins."""
        wait = max(1, (patience or _DEFAULT_PATIENCE) // 3)
        is_due = stopping.epochs_since_best and stopping.epochs_since_best % wait == 0
        return 0.5 * stopping.factor if is_due else stopping.factor


# By the name that `training.schedule` gives them.
RATE_COURSES: Mapping[str, RateCourse] = {"cosine": CosineCourse(), "plateau": PlateauCourse()}


class SecondStage(NamedTuple):
    """From the fraction `start` of a run on, the loss weights by target are `weights`."""

    start: float
    weights: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What happens when; the settings of the same names in `training.settings.TrainingSettings`.

    Progress runs from 0 to 1: the done fraction of the epochs or of the time budget, whichever is
    further. Each stage begins with a warm-up.
    schedule: of the learning rate, a key of `RATE_COURSES`. weights: loss weight by target.
    """

    learning_rate: float
    epochs: int
    max_minutes: float | None = None
    warmup_steps: int = 0
    schedule: str = "cosine"
    patience: int | None = None
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    second_stage: SecondStage | None = None

    def progress(self, position: Position, n_batches: int) -> float:
        """Return the done fraction of a run whose epochs have `n_batches` batches."""
        done = (position.epoch + position.batch / max(n_batches, 1)) / self.epochs
        if self.max_minutes is not None:
            done = max(done, position.seconds / (60.0 * self.max_minutes))
        return min(done, 1.0)

    def rate(
        self, position: Position, n_batches: int, stopping: EarlyStopping | None = None
    ) -> float:
        """Return the learning rate of the next step."""
        start = warmup(position.step - position.stage_step, self.warmup_steps)
        course = RATE_COURSES[self.schedule].factor(
            self.progress(position, n_batches), stopping or EarlyStopping()
        )
        return self.learning_rate * start * course

    def is_last_stage(self, progress: float) -> bool:
        """Whether the loss weights will not change again."""
        return self.second_stage is None or progress >= self.second_stage.start

    def weights_at(self, progress: float) -> Mapping[str, float]:
        """Return the loss weights at that progress."""
        if self.second_stage is None or progress < self.second_stage.start:
            return self.weights
        return self.second_stage.weights

    @property
    def final_weights(self) -> Mapping[str, float]:
        """Loss weights at the end.

        They also weight the validation score, so that it means the same in both stages.
        """
        return self.weights_at(1.0)

    def factor_after(self, stopping: EarlyStopping) -> float:
        """Return the `stopping.factor` with which the epoch after this one begins."""
        return RATE_COURSES[self.schedule].factor_after(stopping, self.patience)

    def is_over_budget(self, position: Position) -> bool:
        """Whether the time budget is used up."""
        return self.max_minutes is not None and position.seconds >= 60.0 * self.max_minutes

    def reason_to_stop(
        self, position: Position, stopping: EarlyStopping, n_batches: int
    ) -> str | None:
        """Return why the run is over after an epoch, or None.

        Patience counts in the last stage alone, of which an epoch is over at least.
        """
        if self.is_over_budget(position):
            return f"the time budget of {self.max_minutes:g} minutes is used up"
        if position.epoch >= self.epochs:
            return f"{all_of(self.epochs, 'epoch')} done"
        if (
            self.patience is not None
            and stopping.epochs_since_best >= self.patience
            and self._does_patience_count(position, n_batches)
        ):
            return f"no better score for {counted(stopping.epochs_since_best, 'epoch')}"
        return None

    def _does_patience_count(self, position: Position, n_batches: int) -> bool:
        """Whether a run is in its last stage, and if that is the second has been for an epoch."""
        if self.second_stage is None:
            return True
        steps = position.step - position.stage_step if position.stage_step else 0
        return steps >= n_batches and self.is_last_stage(self.progress(position, n_batches))


def make_schedule(settings: TrainingSettings) -> Schedule:
    """Return the schedule that the settings describe."""
    stage = settings.second_stage
    return Schedule(
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        max_minutes=settings.max_minutes,
        warmup_steps=settings.warmup_steps,
        schedule=settings.schedule,
        patience=settings.patience,
        weights=settings.weights,
        second_stage=None if stage is None else SecondStage(stage.start, stage.weights),
    )


def warmup(step: int, n_steps: int) -> float:
    """Return the factor of the rate at step `step` (from 0): linear to 1 within n_steps."""
    return min(1.0, (step + 1) / (n_steps + 1))


def cosine(progress: float, floor: float = 0.01) -> float:
    """Return floor + (1 - floor) (1 + cos(pi p)) / 2, p the done fraction of the run.

    I. Loshchilov, F. Hutter, arXiv 1608.03983.
    """
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
