"""The callback that keeps the run directory: metrics.csv, log lines, the best model and last.ckpt.

And that obeys a request to stop.
"""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from molequi.errors import RunInterruptedError
from molequi.models.checkpoint import save_model
from molequi.training.log import MetricsFile, epoch_line, metrics_row
from molequi.training.module import MolecularTraining
from molequi.training.state import write_state

logger = logging.getLogger(__name__)


class RunRecorder(Callback):
    """Writes `output` from the first process.

    csv_size: bytes of metrics.csv that a resumed run keeps. minutes, steps: how often last.ckpt is
    written within an epoch, beside every epoch's end.
    tensorboard: log there too.
    """

    def __init__(
        self,
        output: Path,
        *,
        csv_size: int = 0,
        minutes: float = 10.0,
        steps: int | None = None,
        tensorboard: bool = False,
    ) -> None:
        self.output, self.csv_size = output, csv_size
        self.minutes, self.steps, self.tensorboard = minutes, steps, tensorboard
        self.metrics: MetricsFile | None = None
        self.writer: Any = None
        self._saved_at = 0.0
        self._log: logging.Handler | None = None

    def on_train_start(self, trainer: Trainer, pl_module: MolecularTraining) -> None:
        """Open the files; take over the signals that end a run."""
        self._saved_at = pl_module.position.seconds
        pl_module.signals.start()
        if not trainer.is_global_zero:
            return
        self.metrics = MetricsFile(self.output / "metrics.csv", self.csv_size)
        if trainer.world_size > 1:
            self._log = open_log(self.output)
        if self.tensorboard:
            # Lightning imports the optional package when the writer is first asked for.
            self.writer = TensorBoardLogger(
                self.output, name=None, version="tensorboard"
            ).experiment

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: MolecularTraining,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Write last.ckpt when it is due; stop when asked to."""
        position = pl_module.position
        # At the last batch the end of the epoch follows at once and writes everything.
        if position.batch >= pl_module.n_batches:
            return
        due = self.steps is not None and position.step % self.steps == 0
        if (
            due
            or _is_stopping(trainer, pl_module)
            or position.seconds - self._saved_at > 60.0 * self.minutes
        ):
            self._save(trainer, pl_module)
        self._stop_if_requested(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: MolecularTraining) -> None:
        """Write the epoch's line, the best model, last.ckpt, in this order.

        Last.ckpt says how much of the others counts.
        """
        if trainer.is_global_zero:
            summary = pl_module.summary
            row = metrics_row(summary)
            self.metrics.append(row)
            logger.info(epoch_line(summary, pl_module.objective.rows))
            if self.writer is not None:
                for name, value in row.items():
                    if isinstance(value, int | float):
                        self.writer.add_scalar(name, value, summary["step"])
                self.writer.flush()
            if summary["is_best"]:
                with pl_module.average.applied():
                    save_model(pl_module.model, self.output / "model.safetensors")
        self._save(trainer, pl_module)
        self._stop_if_requested(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: MolecularTraining, stage: str) -> None:
        """Give back the signals; close the log."""
        pl_module.signals.stop()
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        if self._log is not None:
            close_log(self._log)
            self._log = None

    def _save(self, trainer: Trainer, module: MolecularTraining) -> None:
        sums = module.total_train_sums()
        if trainer.is_global_zero:
            write_state(
                {**module.run_state(), "train_sums": sums, "csv_size": self.metrics.size},
                self.output / "last.ckpt",
            )
        self._saved_at = module.position.seconds

    def _stop_if_requested(self, trainer: Trainer, module: MolecularTraining) -> None:
        if _is_stopping(trainer, module):
            # The first process to leave takes the others with it: let all have saved.
            trainer.strategy.barrier()
            number = module.signals.number or int(signal.SIGTERM)
            raise RunInterruptedError(
                f"training stopped by {signal.Signals(number).name}; it is saved in {self.output}, "
                "go on with --resume",
                number,
            )


def _is_stopping(trainer: Trainer, module: MolecularTraining) -> bool:
    return module.is_stop_agreed if trainer.world_size > 1 else module.signals.number != 0


def open_log(output: Path) -> logging.Handler:
    """Send the package's log to log.txt as well, and return the handler for `close_log`."""
    handler = logging.FileHandler(output / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    handler.setLevel(logging.INFO)
    package = logging.getLogger("molequi")
    handler.previous_level = package.level  # type: ignore[attr-defined]
    if package.getEffectiveLevel() > logging.INFO:
        # Other handlers keep what they showed before.
        for other in package.handlers:
            other.setLevel(max(other.level, package.getEffectiveLevel()))
        package.setLevel(logging.INFO)
    package.addHandler(handler)
    return handler


def close_log(handler: logging.Handler) -> None:
    """Undo `open_log`."""
    package = logging.getLogger("molequi")
    package.removeHandler(handler)
    package.setLevel(handler.previous_level)  # type: ignore[attr-defined]
    handler.close()
