"""Trainings over folds and seeds, whose errors are told together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.load import divide
from molequi.errors import UserError
from molequi.experiments.base import Experiment
from molequi.experiments.molecular import MolecularExperiment, begin_all, run_once
from molequi.runtime.plain import read_json
from molequi.training.config import Config
from molequi.training.processes import is_first_process
from molequi.training.repeats import single_runs, summary


@dataclasses.dataclass(frozen=True)
class RepeatedExperiment(Experiment):
    """Several runs of one experiment, over folds and seeds, each in a folder of its own.

    dataset: divided as the first of them has it.
    """

    config: Config
    dataset: LabelledSet
    has_callbacks: ClassVar[bool] = True

    def plan(self) -> dict[str, Any]:
        """Set the first run up to its first step; `runs` names all of them."""
        runs = self.runs()
        return {**next(iter(runs.values())).plan(), "runs": list(runs)}

    def _run(self, callbacks: Sequence[Any]) -> Path:
        """Run one after the other; those that are there in full are not run again."""
        if not is_first_process():
            raise UserError("training.folds and training.repeats run in one process, one by one")
        runs, results = self.runs(), []
        begin_all(self, runs)
        for name, one in runs.items():
            own = run_once(one, self.directory.path / name, callbacks)
            results.append(read_json(own.result))
        self.directory.write_result(summary(results))
        return self.directory.path

    def runs(self) -> dict[str, MolecularExperiment]:
        """Return each run by its folder. Raises UserError where the data have no such fold."""
        runs = single_runs(self.config)
        first = next(iter(runs.values())).data
        # What is left of the data after a limit has no rows of a split file any more: it is divided
        # anew for other folds alone. The limit counts no isolated atoms beside its choice: a second
        # time it would choose again.
        return {
            name: MolecularExperiment(
                self.directory,
                self.resume,
                self.overwrite,
                config,
                self.dataset
                if config.data == first
                else divide(config.data.model_copy(update={"limit": None}), self.dataset),
            )
            for name, config in runs.items()
        }
