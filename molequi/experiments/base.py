"""A config with its data, in order, as something that can be planned and run."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from molequi.hamiltonian.config import DynamicsConfig
from molequi.report.write import write_report
from molequi.training.config import Config
from molequi.training.processes import is_first_process
from molequi.training.run_directory import RunDirectory


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
