"""One run from trajectories to a run directory: train, measure the best model, draw.

Interrupted runs go on where they stopped.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from molequi.errors import RunInterruptedError, UserError
from molequi.hamiltonian.config import DynamicsConfig, make_dynamics_config
from molequi.hamiltonian.data import DynamicsData, make_data
from molequi.hamiltonian.evaluation import Rollout, measure
from molequi.hamiltonian.loop import DynamicsRun
from molequi.hamiltonian.potential import MolecularPotential
from molequi.hamiltonian.setup import build
from molequi.models.checkpoint import save_model
from molequi.plots import learning_curve, rollout_errors
from molequi.runtime.files import written_by_rename
from molequi.runtime.gate import reading
from molequi.runtime.signals import SignalWatch
from molequi.runtime.tensors import read_tensors, write_tensors
from molequi.training.log import RunLog
from molequi.training.metrics_file import MetricsFile
from molequi.training.run_directory import RunDirectory
from molequi.training.saved_state import refuse_unlike
from molequi.training.state import read_state, write_state

# Of model.safetensors, and of last.ckpt.
FORMAT = 1
STATE_FORMAT = 2


def fit_dynamics(
    config: DynamicsConfig, data: DynamicsData, output: Path, *, resume: bool = False
) -> Path:
    """Train on `data` and fill the run directory `output`; returns it.

    Raises UserError where the run cannot be resumed, NotConvergedError where the loss is not
    finite, RunInterruptedError where a signal asked to stop (the run is saved).
    """
    directory = RunDirectory(output)
    model = build(config, data)
    run = DynamicsRun(config, data, model)
    csv_size = 0
    if resume and directory.state.is_file():
        state = read_state(directory.state, version=STATE_FORMAT)
        with reading(directory.state, "state of this run", "start again with --overwrite"):
            refuse_unlike(state, {**run.state_dict(), "csv_size": 0})
            run.load_state_dict(state)
        csv_size = state["csv_size"]
    directory.start(config)
    with RunLog(directory.log):
        _run(run, directory, MetricsFile(directory.metrics, csv_size))
        model.load_state_dict(run.best)
        _write_model(config, model.cpu(), run, directory)
        result, rollout = measure(model, data)
        _write_rollout(config, rollout, data.rollouts.times.numpy(), directory)
        _draw_history(run, directory)
        directory.write_result(result)
    return directory.path


def _run(run: DynamicsRun, directory: RunDirectory, metrics: MetricsFile) -> None:
    """Train until the run is over or a signal asks to stop; every epoch is saved."""
    with SignalWatch() as watch:
        while not run.is_done():
            metrics.append(run.epoch())
            state = {**run.state_dict(), "csv_size": metrics.size}
            write_state(state, directory.state, version=STATE_FORMAT)
            if watch.number:
                raise RunInterruptedError(
                    f"stopped by signal {watch.number} after epoch {len(run.history)}; --resume "
                    "goes on",
                    watch.number,
                )


class TrainedDynamics(NamedTuple):
    """The trained model of a run directory in float64, its config, and its data made again."""

    model: nn.Module
    config: DynamicsConfig
    data: DynamicsData


def load_dynamics(folder: str | os.PathLike[str]) -> TrainedDynamics:
    """Load the model of a finished run.

    Raises UserError where the folder holds none.
    """
    directory = RunDirectory(folder)
    if not directory.result.is_file():
        raise UserError(
            f"{directory.path} holds no finished run of dynamics (result.json is missing); train "
            "with --resume first"
        )
    config = make_dynamics_config(directory.read_settings(), str(directory.config))
    data = make_data(config)
    on_cpu = config.training.model_copy(update={"device": "cpu"})
    model = build(config.model_copy(update={"training": on_cpu}), data)
    file = read_tensors(directory.model)
    with reading(directory.model, "model of this run"):
        if isinstance(model, MolecularPotential) and "molequi" in file.texts:
            model.learner.load_state_dict(file.tensors)
        else:
            model.load_state_dict(file.tensors)
    return TrainedDynamics(model.double().eval().requires_grad_(False), config, data)


def _write_model(
    config: DynamicsConfig, model: nn.Module, run: DynamicsRun, directory: RunDirectory
) -> None:
    """Write the best weights: of a backbone as a model like any other, which all commands serve."""
    if not isinstance(model, MolecularPotential):
        description = json.dumps({"format": FORMAT, "dynamics": config.model.kind})
        write_tensors(directory.model, run.best, {"molequi_dynamics": description})
        return
    level = "learned from a trajectory; its zero means nothing"
    learner = model.learner
    learner.metadata = dataclasses.replace(
        learner.metadata,
        name=config.name,
        level={"energy": level, "forces": level},
        charge_multiplicity=model.charge_multiplicity,
    )
    save_model(learner, directory.model)


def _write_rollout(
    config: DynamicsConfig, rollout: Rollout, times: np.ndarray, directory: RunDirectory
) -> None:
    curves: Mapping[str, Any] = {
        "state": rollout.state.numpy(),
        "energy": rollout.energy.numpy(),
        "linear": rollout.linear.numpy(),
        "angular": rollout.angular.numpy(),
    }
    with written_by_rename(directory.rollout) as path:
        np.savez(path, times=times, **curves)
    rollout_errors(times, {config.model.kind: curves}, directory.plots / "rollout.png")


def _draw_history(run: DynamicsRun, directory: RunDirectory) -> None:
    losses, errors = ([line[name] for line in run.history] for name in ("loss", "valid"))
    learning_curve(
        range(len(run.history)),
        {"states": losses},
        {"states MSE": errors},
        directory.plots / "learning_curve.png",
    )
