"""The progress bar of training: a callback that is handed to the library. It brings Lightning, so it is imported when training starts."""

from __future__ import annotations

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from molequi.cli.output import STDERR


class ProgressBar(Callback):
    """Shows batches of the epoch and epochs of the run; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.batches, self.epochs = TaskID(0), TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the bar up, in the first process alone."""
        if not STDERR.is_terminal or not trainer.is_global_zero:
            return
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
        self.bar = Progress(*columns, console=STDERR, transient=True)
        self.epochs = self.bar.add_task("epochs ", total=pl_module.schedule.epochs, completed=pl_module.position.epoch)
        self.batches = self.bar.add_task("batches", total=None)
        self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move on by a batch; a time budget moves the upper bar."""
        if self.bar is None:
            return
        progress = pl_module.schedule.progress(pl_module.position, pl_module.n_batches)
        self.bar.update(self.epochs, completed=progress * pl_module.schedule.epochs)
        self.bar.update(self.batches, completed=batch_idx + 1, total=trainer.num_training_batches)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar down, also when the run ends with an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
