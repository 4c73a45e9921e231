"""Lightning's trainer for one process or several.

And how signals and errors pass between processes.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.strategies import DDPStrategy
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from molequi.errors import UserError
from molequi.runtime.device import as_device
from molequi.runtime.files import TERMINATING
from molequi.training.endings import as_raised
from molequi.training.module import MolecularTraining
from molequi.training.settings import TrainingSettings

_LIGHTNING = ("pytorch_lightning", "lightning_fabric")
# Those who note devices, loaders, and processes that are ended where one has failed.
_NOTING = (*_LIGHTNING, "torch.multiprocessing.spawn")
# What torch's C++ side says; a process reads it when it loads torch.
_CPP_LOG_LEVEL = "TORCH_CPP_LOG_LEVEL"


def launch(
    settings: TrainingSettings,
    module: MolecularTraining,
    data: LightningDataModule,
    output: Path,
    callbacks: list[Callback],
) -> None:
    """Run Lightning's loop on the devices, processes and machines of the settings.

    Raises what the loop raises, also where it ran in a spawned process.
    """
    with (
        _quiet_lightning(),
        torch.random.fork_rng(),
        _ctrl_c_as_such(),
        _signals_passed_on(settings),
    ):
        trainer = _make_trainer(settings, output, callbacks)
        _start_at_epoch(trainer, module)
        try:
            trainer.fit(module, datamodule=data)
        except (ProcessRaisedException, ProcessExitedException) as error:
            own = as_raised(error, output)
            if own is None:
                raise
            raise own from error


def _make_trainer(settings: TrainingSettings, output: Path, callbacks: list[Callback]) -> Trainer:
    device = as_device(settings.device)
    accelerator = "gpu" if device.startswith("cuda") else "cpu"
    devices: int | list[int] = (
        [int(device.partition(":")[2])] if ":" in device else settings.devices
    )
    return Trainer(
        accelerator=accelerator,
        devices=devices,
        num_nodes=settings.nodes,
        strategy=_strategy(settings, accelerator),
        max_epochs=settings.epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        use_distributed_sampler=False,
        inference_mode=False,
        reload_dataloaders_every_n_epochs=1,
        default_root_dir=output,
    )


def _strategy(settings: TrainingSettings, accelerator: str) -> str | DDPStrategy:
    launched = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if launched not in (1, settings.devices * settings.nodes):
        raise UserError(
            f"torchrun started {launched} processes; set training.devices and training.nodes so "
            f"that their product is {launched}"
        )
    if settings.devices * settings.nodes == 1:
        return "auto"
    return _QuietProcesses(
        start_method="popen" if launched > 1 or settings.nodes > 1 else "spawn",
        process_group_backend="nccl" if accelerator == "gpu" else "gloo",
        find_unused_parameters=True,
    )


class _QuietProcesses(DDPStrategy):
    """Several processes; those that are spawned know nothing of what their parent keeps quiet."""

    def setup_environment(self) -> None:
        """Set up a process, the first that Lightning does in it."""
        _ignore_notes()
        super().setup_environment()


def _start_at_epoch(trainer: Trainer, module: MolecularTraining) -> None:
    """Let Lightning count epochs from where the run stands.

    It hands the number to the batch order and to progress bars.
    """
    progress = trainer.fit_loop.epoch_progress
    for part in (progress.total, progress.current):
        for count in ("ready", "started", "processed", "completed"):
            setattr(part, count, module.position.epoch)


@contextlib.contextmanager
def _signals_passed_on(settings: TrainingSettings) -> Iterator[None]:
    """Let the spawned processes of a run decide about SIGTERM and Ctrl-C.

    A parent that just died would leave them behind.
    """
    if (
        settings.devices * settings.nodes == 1
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def pass_on(number: int, frame: Any) -> None:
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, number)

    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, *TERMINATING)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _ctrl_c_as_such() -> Iterator[None]:
    """Let Ctrl-C end a run as itself: Lightning makes an exit of it, with another code."""
    try:
        yield
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep notes about devices, loaders and processes from the user for a while."""
    levels = [logging.getLogger(name).level for name in _NOTING]
    chosen = _CPP_LOG_LEVEL in os.environ
    os.environ.setdefault(_CPP_LOG_LEVEL, "ERROR")
    with warnings.catch_warnings():
        _ignore_notes()
        try:
            yield
        finally:
            for name, level in zip(_NOTING, levels, strict=True):
                logging.getLogger(name).setLevel(level)
            if not chosen:
                del os.environ[_CPP_LOG_LEVEL]


def _ignore_notes() -> None:
    for name in _NOTING:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings(
        "ignore", module=r"(pytorch_lightning|lightning_fabric|torch\.distributed).*"
    )
