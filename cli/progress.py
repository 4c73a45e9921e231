"""The progress bar of training: a callback that is handed to the library.

It brings Lightning, so it is imported when training starts.
"""

from __future__ import annotations

import logging
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from molequi.cli.output import STDERR, start_logging
from molequi.training.module import MolecularTraining


class ProgressBar(Callback):
    """Shows how far the epoch and the run are; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.run, self.epoch = TaskID(0), TaskID(0)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log in a process that was spawned as in the one that spawned it."""
        if trainer.is_global_zero and not logging.getLogger("molequi").handlers:
            start_logging(logging.INFO)
            logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the bar up, in the first process alone."""
        if not STDERR.is_terminal or not trainer.is_global_zero:
            return
        columns = (
            TextColumn("{task.description:9}"),
            BarColumn(),
            TextColumn("{task.fields[count]:>11}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=STDERR, transient=True)
        self.run = self.bar.add_task("run", total=1.0, count="")
        self.epoch = self.bar.add_task("epoch", total=None, count="")
        self.bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move on by a batch; the whole run may be so many epochs or a time budget."""
        if self.bar is None or not isinstance(pl_module, MolecularTraining):
            return
        position, n_batches = pl_module.position, pl_module.n_batches
        progress = pl_module.schedule.progress(position, n_batches)
        self.bar.update(self.run, completed=progress, count=f"{progress:.0%}")
        self.bar.update(
            self.epoch,
            completed=position.batch,
            total=n_batches,
            count=f"{position.batch}/{n_batches}",
            description=f"epoch {position.epoch + 1}",
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar down, also when the run ends with an error."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
