"""The callback that keeps the run directory, and that obeys a request to stop.

Another callback is a class of its own beside this one, handed to `experiments.fit`.
"""

from __future__ import annotations

import logging
import signal
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from molequi.models.checkpoint import save_model
from molequi.training.endings import stopped
from molequi.training.log import RunLog, epoch_line
from molequi.training.metrics import EpochSummary
from molequi.training.metrics_file import MetricsFile, metrics_row
from molequi.training.module import MolecularTraining
from molequi.training.run_directory import RunDirectory
from molequi.training.settings import TrainingSettings
from molequi.training.state import write_state

logger = logging.getLogger(__name__)


class RunRecorder(Callback):
    """Keeps metrics.csv, log lines, the best model and last.ckpt, from the first process.

    settings: checkpoint_minutes and checkpoint_steps say how often last.ckpt is written within an
    epoch, beside every epoch's end; logger whether TensorBoard gets the metrics too. labels: what
    `labels.label_digest` makes of the data. csv_size: bytes of metrics.csv that a resumed run
    keeps.
    """

    def __init__(
        self,
        directory: RunDirectory,
        settings: TrainingSettings,
        labels: str,
        *,
        csv_size: int = 0,
    ) -> None:
        self.directory, self.settings, self.csv_size = directory, settings, csv_size
        self.labels = labels
        self.metrics: MetricsFile | None = None
        self.writer: Any = None
        self._saved_at = 0.0
        self._log: RunLog | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the files; take over the signals that end a run; write the first last.ckpt.

        So that wherever there is a model, there is a state that knows it.
        """
        module = _own(pl_module)
        module.signals.start()
        if trainer.is_global_zero:
            self._open(trainer)
        self._save(trainer, module)

    def _open(self, trainer: Trainer) -> None:
        """Open the files that the first process keeps."""
        self.metrics = MetricsFile(self.directory.metrics, self.csv_size)
        if trainer.world_size > 1:
            self._log = RunLog(self.directory.log)
            self._log.attach()
        if self.settings.logger == "tensorboard":
            # Lightning imports the optional package when the writer is first asked for.
            self.writer = TensorBoardLogger(
                self.directory.path, name=None, version="tensorboard"
            ).experiment

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write last.ckpt when it is due; stop when asked to."""
        module = _own(pl_module)
        position, steps = module.position, self.settings.checkpoint_steps
        # At the last batch the end of the epoch follows at once and writes everything.
        if position.batch >= module.n_batches:
            return
        if (
            (steps is not None and position.step % steps == 0)
            or _is_stopping(trainer, module)
            or position.seconds - self._saved_at > 60.0 * self.settings.checkpoint_minutes
        ):
            self._save(trainer, module)
        self._stop_if_requested(trainer, module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's line, the best model, last.ckpt, in this order.

        Last.ckpt says how much of the others counts.
        """
        module = _own(pl_module)
        if module.summary is not None and self.metrics is not None:
            self._write_epoch(module, module.summary, self.metrics)
        self._save(trainer, module)
        self._stop_if_requested(trainer, module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give back the signals; close the log."""
        _own(pl_module).signals.stop()
        if self.writer is not None:
            self.writer.close()
            self.writer = None
        if self._log is not None:
            self._log.detach()
            self._log = None

    def _write_epoch(
        self, module: MolecularTraining, summary: EpochSummary, metrics: MetricsFile
    ) -> None:
        row = metrics_row(summary)
        metrics.append(row)
        logger.info(epoch_line(summary, module.objective.rows))
        if self.writer is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self.writer.add_scalar(name, value, summary.step)
            self.writer.flush()
        if summary.is_best:
            with module.average.applied():
                save_model(module.model, self.directory.model)

    def _save(self, trainer: Trainer, module: MolecularTraining) -> None:
        sums = module.total_train_sums()
        if self.metrics is not None:
            own = {"train_sums": sums, "csv_size": self.metrics.size, "labels": self.labels}
            state = {**module.run_state(), **own}
            write_state(state, self.directory.state)
        self._saved_at = module.position.seconds

    def _stop_if_requested(self, trainer: Trainer, module: MolecularTraining) -> None:
        if _is_stopping(trainer, module):
            # The first process to leave takes the others with it: let all have saved.
            trainer.strategy.barrier()
            number = module.signals.number or int(signal.SIGTERM)
            raise stopped(self.directory.path, number)


def _own(module: LightningModule) -> MolecularTraining:
    if not isinstance(module, MolecularTraining):
        raise TypeError(f"this callback is for MolecularTraining, not {type(module).__name__}")
    return module


def _is_stopping(trainer: Trainer, module: MolecularTraining) -> bool:
    return module.is_stop_agreed if trainer.world_size > 1 else module.signals.number != 0
