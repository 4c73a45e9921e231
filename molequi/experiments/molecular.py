"""One training of a model of molecular properties."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from molequi import training
from molequi.datasets.fingerprints import KnownMolecules, fingerprints
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.report import report_lines
from molequi.errors import RunInterruptedError
from molequi.experiments.base import Experiment
from molequi.training.config import Config
from molequi.training.endings import stopped
from molequi.training.evaluation import Beside, tested_part
from molequi.training.log import with_unit
from molequi.training.plan import plan_run
from molequi.training.processes import is_first_process
from molequi.training.run_directory import RunDirectory

_LOG = logging.getLogger(__name__)
_ON_FINGERPRINTS = {"fingerprint_mae": "a random forest", "ridge_mae": "a ridge regression"}


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


def run_once(one: MolecularExperiment, folder: Path, callbacks: Sequence[Any]) -> RunDirectory:
    """Run an experiment in a folder, unless it is to go on and has ended there; returns the run.

    one: its directory is that of all runs. Raises UserError where the run that has ended there was
    one on other data, RunInterruptedError where a signal asked to stop.
    """
    own = RunDirectory(folder)
    resume = one.resume and own.config.is_file()
    if resume and own.has_ended(one.config):
        dataset = one.dataset
        training.refuse_other_data(one.config, dataset.frames, dataset.splits, own)
        return own
    _LOG.info("%s", folder.name)
    overwrite = one.overwrite and not resume
    own.claim(one.config, resume=resume, overwrite=overwrite)
    single = dataclasses.replace(one, directory=own, resume=resume, overwrite=overwrite)
    try:
        single.run(callbacks)
    except RunInterruptedError as error:  # to go on with is the whole, not one of its runs
        raise stopped(one.directory.path, error.signal_number) from error
    return own


def begin_all(whole: Experiment, names: Iterable[str]) -> None:
    """Write the config of several runs in folders of those names; none of an earlier one is left.

    Where `overwrite` is set, that is: or the next `resume` would take it for one of these. What
    they gave together goes where they are to give more.
    """
    if whole.overwrite and not whole.resume:
        whole.directory.clear_runs(names)
    whole.directory.go_on(whole.config, is_over=whole.directory.has_ended(whole.config))
