"""Trainings of several seeds that end in one model, whose mean and spread it gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from molequi import training
from molequi.datasets.labelled_set import LabelledSet
from molequi.errors import UserError
from molequi.experiments.base import Experiment
from molequi.experiments.molecular import MolecularExperiment, begin_all, run_once
from molequi.training.config import Config
from molequi.training.processes import is_first_process
from molequi.training.repeats import member_runs
from molequi.training.run_directory import RunDirectory


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
        members = member_runs(self.config)
        begin_all(self, members)
        for name, config in members.items():
            run_once(self._single(config), self.directory.path / name, callbacks)
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
