"""Train: what scripts and the command line call.

Which kind of config goes where is said here.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from molequi import hamiltonian, training
from molequi.datasets.fingerprints import KnownMolecules, fingerprints
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import divide, load_dataset
from molequi.datasets.report import report_lines
from molequi.errors import UserError
from molequi.hamiltonian.config import (
    DynamicsConfig,
    is_dynamics,
    load_dynamics_config,
    make_dynamics_config,
)
from molequi.hamiltonian.data import DynamicsData, make_data
from molequi.hamiltonian.setup import build
from molequi.report.write import write_report
from molequi.runtime.plain import read_json
from molequi.settings import read_settings, with_absolute_paths
from molequi.training.config import Config, load_config, make_config
from molequi.training.evaluation import Beside, tested_part
from molequi.training.fine_tuning import refuse_unfit
from molequi.training.log import with_unit
from molequi.training.plan import plan_run
from molequi.training.processes import is_first_process
from molequi.training.repeats import is_repeated, member_runs, single_runs, summary
from molequi.training.run_directory import RunDirectory

_LOG = logging.getLogger(__name__)
_ON_FINGERPRINTS = {"fingerprint_mae": "a random forest", "ridge_mae": "a ridge regression"}


@dataclasses.dataclass(frozen=True)
class Experiment(ABC):
    """A config whose output and data have been found in order: what remains is to run it.

    Lightning and the drawing library, which take seconds to import, come when it runs.

    has_callbacks: whether `run` takes Lightning's callbacks.
    """

    directory: RunDirectory
    resume: bool
    overwrite: bool
    config: Config | DynamicsConfig
    has_callbacks: ClassVar[bool]

    def run(self, callbacks: Sequence[Any] = ()) -> Path:
        """Train and fill the run directory, in which no other run may write now; returns it.

        At the end a page shows what came of it (`report.write_report`).

        Raises NotConvergedError where a loss is not finite; RunInterruptedError where a signal
        asked to stop (the run is saved); UserError where another run took the directory.
        """
        with self.directory.held(self.config, resume=self.resume, overwrite=self.overwrite):
            folder = self._run(callbacks)
            if is_first_process():
                write_report(folder, self.directory.page, overwrite=True)
            return folder

    @abstractmethod
    def plan(self) -> dict[str, Any]:
        """Return what `run` would read, count and train, as plain values; nothing is written.

        reads: the data. structures: by part. weights: that are trained. output: the run directory.
        Of a model of molecules also what `training.plan` names.
        """

    @abstractmethod
    def _run(self, callbacks: Sequence[Any]) -> Path:
        """Train and fill the run directory."""


@dataclasses.dataclass(frozen=True)
class MolecularExperiment(Experiment):
    """A model of molecular properties."""

    config: Config
    dataset: LabelledSet
    has_callbacks: ClassVar[bool] = True

    def plan(self) -> dict[str, Any]:
        """Set the run up to its first step."""
        data = self.config.data
        found = plan_run(self.config, self.dataset.frames, self.dataset.splits)
        return {"reads": data.path or data.kind, **found, "output": str(self.directory.path)}

    def _run(self, callbacks: Sequence[Any]) -> Path:
        return training.fit_frames(
            self.config,
            self.dataset.frames,
            self.dataset.splits,
            self.directory.path,
            resume=self.resume,
            callbacks=callbacks,
            messages=self.messages(),
            beside=self.beside(),
        )

    def messages(self) -> list[str]:
        """Return what loading the data had to say."""
        report = self.dataset.report
        return [*report_lines(report), *report.warnings, *self.dataset.failures]

    def beside(self) -> Beside:
        """Return what fingerprints say, where there are SMILES.

        That is the errors of a random forest and of a ridge regression, and what the model keeps of
        its training set.
        """
        cells = self.dataset.cells
        smiles = [told.get("smiles", "") for told in cells]
        if not smiles or not all(smiles) or not is_first_process():
            return Beside(cells=cells)
        splits, bits = self.dataset.splits, fingerprints(smiles)
        part = tested_part(splits)
        errors = training.fingerprint_errors(self.dataset.frames, bits, splits, part)
        for name, row in errors.items():
            unit = self.dataset.frames.properties[name].unit
            for key, method in _ON_FINGERPRINTS.items():
                if key in row:
                    error = with_unit(row[key], unit)
                    _LOG.info("%s: %s on fingerprints has MAE %s on %s", name, method, error, part)
        known = KnownMolecules.of(bits[splits["train"].numpy()])
        return Beside(errors, known.to_json(), cells)


@dataclasses.dataclass(frozen=True)
class RepeatedExperiment(Experiment):
    """Several runs of one experiment, over folds and seeds, each in a folder of its own."""

    config: Config
    dataset: LabelledSet
    has_callbacks: ClassVar[bool] = True

    def plan(self) -> dict[str, Any]:
        """Set the first run up to its first step; `runs` names all of them."""
        runs = single_runs(self.config)
        config = next(iter(runs.values()))
        dataset = divide(config.data, self.dataset)
        one = MolecularExperiment(self.directory, self.resume, self.overwrite, config, dataset)
        return {**one.plan(), "runs": list(runs)}

    def _run(self, callbacks: Sequence[Any]) -> Path:
        """Run one after the other; those that are there in full are not run again."""
        if not is_first_process():
            raise UserError("training.folds and training.repeats run in one process, one by one")
        self.directory.start(self.config)
        results = []
        for name, config in single_runs(self.config).items():
            dataset = divide(config.data, self.dataset)
            one = MolecularExperiment(self.directory, self.resume, self.overwrite, config, dataset)
            own = _run_once(one, self.directory.path / name, callbacks)
            results.append(read_json(own.result))
        self.directory.write_result(summary(results))
        return self.directory.path


@dataclasses.dataclass(frozen=True)
class EnsembleExperiment(Experiment):
    """Members with different seeds, each in a folder of its own, which end in one model."""

    config: Config
    dataset: LabelledSet
    has_callbacks: ClassVar[bool] = True

    def plan(self) -> dict[str, Any]:
        """Set the first member up to its first step; `runs` names all of them."""
        return {**self._single(self.config).plan(), "runs": list(member_runs(self.config))}

    def _run(self, callbacks: Sequence[Any]) -> Path:
        """Train one after the other; those that are there in full are not trained again."""
        if not is_first_process():
            raise UserError("the members of an ensemble are trained in one process, one by one")
        self.directory.start(self.config)
        members = member_runs(self.config)
        for name, config in members.items():
            _run_once(self._single(config), self.directory.path / name, callbacks)
        whole = self._single(self.config)
        return training.join_members(
            self.config,
            self.dataset.frames,
            self.dataset.splits,
            self.directory.path,
            [RunDirectory(self.directory.path / name).model for name in members],
            messages=whole.messages(),
            beside=whole.beside(),
        )

    def _single(self, config: Config) -> MolecularExperiment:
        return MolecularExperiment(
            self.directory, self.resume, self.overwrite, config, self.dataset
        )


def _run_once(one: MolecularExperiment, folder: Path, callbacks: Sequence[Any]) -> RunDirectory:
    """Run an experiment in a folder, unless it is to go on and has ended there; returns the run."""
    own = RunDirectory(folder)
    resume = one.resume and own.config.is_file()
    if not (resume and own.result.is_file()):
        _LOG.info("%s", folder.name)
        overwrite = one.overwrite and not resume
        own.claim(one.config, resume=resume, overwrite=overwrite)
        dataclasses.replace(one, directory=own, resume=resume, overwrite=overwrite).run(callbacks)
    return own


@dataclasses.dataclass(frozen=True)
class DynamicsExperiment(Experiment):
    """Dynamics learned from trajectories."""

    config: DynamicsConfig
    data: DynamicsData
    has_callbacks: ClassVar[bool] = False

    def plan(self) -> dict[str, Any]:
        """Make the data and the model."""
        parts = {"train": self.data.train, "valid": self.data.valid, "test": self.data.test}
        network = build(self.config, self.data)
        return {
            "reads": self.config.data.kind,
            "structures": {name: segments.n_systems for name, segments in parts.items()},
            "weights": sum(weight.numel() for weight in network.parameters()),
            "output": str(self.directory.path),
        }

    def _run(self, callbacks: Sequence[Any]) -> Path:
        if callbacks:
            raise UserError("callbacks are Lightning's, which does not train dynamics; give none")
        return hamiltonian.fit_dynamics(
            self.config, self.data, self.directory.path, resume=self.resume
        )


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
    return _prepare(settings, folder, resume=resume, overwrite=overwrite)


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
        dataset = load_dataset(config.data, config.declared())
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
