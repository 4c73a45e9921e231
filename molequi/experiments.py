"""Experiments: what a config asks for, trained. Which kind of config goes where."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molequi import hamiltonian, training
from molequi.config import Config, load_config
from molequi.datasets.formats.labels import report_lines
from molequi.datasets.load import open_dataset
from molequi.errors import UserError
from molequi.hamiltonian.config import DynamicsConfig, is_dynamics, load_dynamics_config
from molequi.settings import read_settings
from molequi.training.run_directory import (
    clear,
    refuse_occupied,
    refuse_other_run,
    with_absolute_paths,
)
from molequi.training.state import is_first_process


def load_experiment(
    source: str | os.PathLike[str], overrides: Sequence[str] = ()
) -> Config | DynamicsConfig:
    """Read a config of either kind from a YAML file, or the bundled one of that name.

    overrides: such as `training.epochs=20`. Raises UserError as `load_config`.
    """
    name = os.fspath(source)
    if is_dynamics(read_settings(name, overrides)):
        return load_dynamics_config(name, overrides)
    return load_config(name, overrides)


def train(
    config: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> Path:
    """Train the experiment of a YAML file or a bundled config; returns the run directory.

    overrides: such as `training.epochs=20`. output: by default `runs/NAME`. The other arguments are
    those of `fit`.
    """
    settings = load_experiment(config, overrides)
    folder = Path("runs") / settings.name if output is None else Path(output)
    if isinstance(settings, DynamicsConfig):
        return hamiltonian.train_dynamics(settings, folder, resume=resume, overwrite=overwrite)
    return fit(settings, folder, resume=resume, overwrite=overwrite, callbacks=callbacks)


def fit(
    config: Config,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> Path:
    """Train a config and fill the run directory `output` (DESIGN §5); returns it.

    resume: go on with the run in `output`, bit for bit on the CPU. overwrite: replace what is
    there. callbacks: Lightning's.
    Raises UserError for whatever in config, data or output does not fit, before anything is
    written; NotConvergedError where a loss is not finite; RunInterruptedError where a signal asked
    to stop (the run is saved).
    """
    config = with_absolute_paths(config)
    if config.training.logger == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "training.logger is tensorboard, which is not installed; `pip install "
            "molequi[tensorboard]`, or set training.logger=csv"
        )
    if resume:
        refuse_other_run(config, output)
    elif is_first_process():
        refuse_occupied(output, overwrite=overwrite)
    dataset = open_dataset(config.data, config.declared())
    messages = [*report_lines(dataset.report), *dataset.report.warnings, *dataset.failures]
    if overwrite and not resume and is_first_process():
        clear(output)
    return training.fit_frames(
        config,
        dataset.frames,
        dataset.splits,
        output,
        resume=resume,
        callbacks=callbacks,
        messages=messages,
    )
