"""The plan of a run: how far it is, the learning rate and the loss weights there, and when it has learned enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from molequi.training.state import Position


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


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What happens when; the settings of the same names in `config.TrainingSettings`.

    Progress runs from 0 to 1: the done fraction of the epochs or of the time budget, whichever is
    further. Each stage begins with a warm-up.
    weights: loss weight by target. second_stage: (start, weights), the fraction of the run from
    which other weights hold.
    """

    learning_rate: float
    epochs: int
    max_minutes: float | None = None
    warmup_steps: int = 0
    schedule: str = "cosine"
    patience: int | None = None
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    second_stage: tuple[float, Mapping[str, float]] | None = None

    def progress(self, position: Position, n_batches: int) -> float:
        """Return the done fraction of a run whose epochs have `n_batches` batches."""
        done = (position.epoch + position.batch / max(n_batches, 1)) / self.epochs
        if self.max_minutes is not None:
            done = max(done, position.seconds / (60.0 * self.max_minutes))
        return min(done, 1.0)

    def rate(self, position: Position, n_batches: int, factor: float = 1.0) -> float:
        """Return the learning rate of the next step. factor: of the plateau schedule."""
        shape = cosine(self.progress(position, n_batches)) if self.schedule == "cosine" else factor
        return (
            self.learning_rate
            * warmup(position.step - position.stage_step, self.warmup_steps)
            * shape
        )

    def is_last_stage(self, progress: float) -> bool:
        """Whether the loss weights will not change again."""
        return self.second_stage is None or progress >= self.second_stage[0]

    def weights_at(self, progress: float) -> Mapping[str, float]:
        """Return the loss weights at that progress."""
        return (
            self.weights
            if self.second_stage is None or progress < self.second_stage[0]
            else self.second_stage[1]
        )

    @property
    def final_weights(self) -> Mapping[str, float]:
        """Loss weights at the end.

        They also weight the validation score, so that it means the same in both stages.
        """
        return self.weights_at(1.0)

    def plateau_factor(self, stopping: EarlyStopping) -> float:
        """Return the factor after an epoch.

        Halved whenever a third of the patience (default 25 epochs) has passed without a better
        score.
        """
        wait = max(1, (self.patience or 25) // 3)
        halve = (
            self.schedule == "plateau"
            and stopping.epochs_since_best
            and stopping.epochs_since_best % wait == 0
        )
        return 0.5 * stopping.factor if halve else stopping.factor

    def reason_to_stop(
        self, position: Position, stopping: EarlyStopping, n_batches: int
    ) -> str | None:
        """Return why the run is over after an epoch, or None.

        Patience counts in the last stage alone.
        """
        if self.max_minutes is not None and position.seconds >= 60.0 * self.max_minutes:
            return f"the time budget of {self.max_minutes:g} minutes is used up"
        if position.epoch >= self.epochs:
            return f"all {self.epochs} epochs are done"
        if (
            self.patience is not None
            and stopping.epochs_since_best >= self.patience
            and self.is_last_stage(self.progress(position, n_batches))
        ):
            return f"no better score for {stopping.epochs_since_best} epochs"
        return None


def warmup(step: int, n_steps: int) -> float:
    """Return the factor of the rate at optimiser step `step` (from 0): linear to 1 within n_steps."""
    return min(1.0, (step + 1) / (n_steps + 1))


def cosine(progress: float, floor: float = 0.01) -> float:
    """Return floor + (1 - floor) (1 + cos(pi p)) / 2, p the done fraction of the run (I.

    Loshchilov, F. Hutter, arXiv 1608.03983).
    """
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
