"""One training of dynamics."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from molequi import hamiltonian
from molequi.errors import UserError
from molequi.experiments.base import Experiment
from molequi.hamiltonian.config import DynamicsConfig
from molequi.hamiltonian.data import DynamicsData
from molequi.hamiltonian.setup import build
from molequi.training.processes import is_first_process


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
        if not is_first_process():
            raise UserError("dynamics are trained in one process; start one")
        return hamiltonian.fit_dynamics(
            self.config, self.data, self.directory.path, resume=self.resume
        )
