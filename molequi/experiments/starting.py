"""From a config to its experiment: which kind it is, and what does not fit is refused."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molequi.datasets.load import load_dataset
from molequi.errors import UserError
from molequi.experiments.base import Experiment
from molequi.experiments.dynamics import DynamicsExperiment
from molequi.experiments.ensemble import EnsembleExperiment
from molequi.experiments.molecular import MolecularExperiment
from molequi.experiments.repeated import RepeatedExperiment
from molequi.hamiltonian.config import (
    DynamicsConfig,
    is_dynamics,
    load_dynamics_config,
    make_dynamics_config,
)
from molequi.hamiltonian.data import make_data
from molequi.settings import read_settings, with_absolute_paths
from molequi.training.config import Config, load_config, make_config
from molequi.training.fine_tuning import refuse_unfit
from molequi.training.repeats import is_repeated, single_runs
from molequi.training.run_directory import RunDirectory


def load_experiment(
    source: str | os.PathLike[str], overrides: Sequence[str] = ()
) -> Config | DynamicsConfig:
    """Read a config of either kind from a YAML file, or the bundled one of that name.

    overrides: such as `training.epochs=20`. Raises UserError as `load_config`.
    """
    if not isinstance(source, str | os.PathLike):
        raise UserError(
            f"the config is of type {type(source).__name__}; give a YAML file or a bundled name"
        )
    name = os.fspath(source)
    if is_dynamics(read_settings(name, overrides)):
        return load_dynamics_config(name, overrides)
    return load_config(name, overrides)


def prepare(
    config: str | os.PathLike[str] | None,
    overrides: Sequence[str] = (),
    output: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Experiment:
    """Read a config and its data, and refuse whatever does not fit; the arguments of `train`.

    Without a config the run in `output` goes on as its own `config.yaml` says.
    Where `overwrite` is set, what a run left in `output` is removed when this one begins.
    """
    settings = (
        load_experiment(config, overrides) if config is not None else _resumed(output, overrides)
    )
    folder = Path("runs") / settings.name if output is None else Path(output)
    if config is not None and not (resume or overwrite):
        _refuse_own_source(Path(config), RunDirectory(folder))
    return _prepare(settings, folder, resume=resume, overwrite=overwrite)


def _refuse_own_source(source: Path, directory: RunDirectory) -> None:
    """Refuse to write the settings of a run over the file that they are read from.

    Where a run has left more in the folder, `claim` tells what can be done.
    """
    if source.is_file() and directory.has_only_config() and directory.config.samefile(source):
        raise UserError(
            f"the run would replace {source}, which it is read from; --output names another place, "
            "--overwrite replaces the file"
        )


def _resumed(
    output: str | os.PathLike[str] | None, overrides: Sequence[str]
) -> Config | DynamicsConfig:
    """Read the config of a run from its directory."""
    if output is None:
        raise UserError("without a config, the run directory to go on with must be given")
    run = RunDirectory(output)
    data = run.read_settings(overrides)
    make = make_dynamics_config if is_dynamics(data) else make_config
    return make(data, str(run.config))


def _prepare(
    config: Config | DynamicsConfig, output: Path, *, resume: bool, overwrite: bool
) -> Experiment:
    config, directory = with_absolute_paths(config), RunDirectory(output)
    directory.claim(config, resume=resume, overwrite=overwrite)
    experiment: Experiment
    if isinstance(config, DynamicsConfig):
        experiment = DynamicsExperiment(directory, resume, overwrite, config, make_data(config))
    else:
        _refuse_missing_logger(config)
        refuse_unfit(config)
        first = next(iter(single_runs(config).values()))
        dataset = load_dataset(first.data, config.declared())
        if is_repeated(config):
            return RepeatedExperiment(directory, resume, overwrite, config, dataset)
        if config.ensemble is not None and config.members == "models":
            return EnsembleExperiment(directory, resume, overwrite, config, dataset)
        experiment = MolecularExperiment(directory, resume, overwrite, config, dataset)
    return experiment


def _refuse_missing_logger(config: Config) -> None:
    if config.training.logger == "tensorboard" and importlib.util.find_spec("tensorboard") is None:
        raise UserError(
            "training.logger is tensorboard, which is not installed; `pip install "
            "molequi[tensorboard]`, or set training.logger=csv"
        )


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
    return prepare(config, overrides, output, resume=resume, overwrite=overwrite).run(callbacks)


def fit(
    config: Config | DynamicsConfig,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Any] = (),
) -> Path:
    """Train a config and fill the run directory `output`; returns it.

    resume: go on with the run in `output`, bit for bit on the CPU. overwrite: replace what is
    there. callbacks: Lightning's, for a model of molecular properties.
    Raises UserError for whatever in config, data or output does not fit, before anything is
    written; NotConvergedError where a loss is not finite; RunInterruptedError where a signal asked
    to stop (the run is saved).
    """
    return _prepare(config, output, resume=resume, overwrite=overwrite).run(callbacks)
