"""One run from trajectories to a run directory: train, measure the best model, draw.

Interrupted runs go on where they stopped.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from torch import nn

from molequi.errors import RunInterruptedError, UserError
from molequi.hamiltonian.config import DynamicsConfig
from molequi.hamiltonian.data import DynamicsData, digest_of
from molequi.hamiltonian.evaluation import Rollout, measure
from molequi.hamiltonian.loop import DynamicsRun
from molequi.hamiltonian.potential import MolecularPotential
from molequi.hamiltonian.saved import STATE_FORMAT, save_dynamics
from molequi.hamiltonian.setup import build
from molequi.models.checkpoint import save_model
from molequi.plots import learning_curve, rollout_errors
from molequi.runtime.files import written_by_rename
from molequi.runtime.gate import reading
from molequi.runtime.signals import SignalWatch
from molequi.training.log import RunLog
from molequi.training.metrics_file import MetricsFile
from molequi.training.run_directory import RunDirectory
from molequi.training.saved_state import refuse_unlike
from molequi.training.state import read_state, write_state


def fit_dynamics(
    config: DynamicsConfig, data: DynamicsData, output: Path, *, resume: bool = False
) -> Path:
    """Train on `data` and fill the run directory `output`; returns it.

    Raises UserError where the run cannot be resumed, NotConvergedError where the loss is not
    finite, RunInterruptedError where a signal asked to stop (the run is saved).
    """
    directory = RunDirectory(output)
    model = build(config, data)
    run, of_data = DynamicsRun(config, data, model), digest_of(data)
    csv_size = 0
    if resume and not directory.has_just_begun(config):
        csv_size = _go_on(run, of_data, directory)
    directory.go_on(config, is_over=run.is_done())
    with RunLog(directory.log):
        _run(run, of_data, directory, MetricsFile(directory.metrics, csv_size))
        model.load_state_dict(run.best)
        _write_model(config, model.cpu(), run, directory)
        result, rollout = measure(model, data, n_substeps=config.training.substeps)
        _write_rollout(config, rollout, data.rollouts.times.numpy(), directory)
        _draw_history(run, directory)
        directory.write_result(result)
    return directory.path


def _go_on(run: DynamicsRun, of_data: str, directory: RunDirectory) -> int:
    """Let a run stand where its last.ckpt does; return how many bytes of metrics.csv count."""
    state = read_state(directory.state, version=STATE_FORMAT)
    with reading(directory.state, "state of this run", "start again with --overwrite"):
        refuse_unlike(state, {**run.state_dict(), "csv_size": 0})
        run.load_state_dict(state)
    if state.get("data", of_data) != of_data:  # older runs do not know
        raise UserError(
            "the trajectory, or the teacher, is not the one that the run began with; give it the "
            "data of then, or start again with --overwrite"
        )
    return int(state["csv_size"])


def _run(run: DynamicsRun, of_data: str, directory: RunDirectory, metrics: MetricsFile) -> None:
    """Train until the run is over or a signal asks to stop; every epoch is saved."""
    with SignalWatch() as watch:
        while not run.is_done():
            metrics.append(run.epoch())
            state = {**run.state_dict(), "csv_size": metrics.size, "data": of_data}
            write_state(state, directory.state, version=STATE_FORMAT)
            if watch.number:
                raise RunInterruptedError(
                    f"stopped by signal {watch.number} after epoch {len(run.history)}; --resume "
                    "goes on",
                    watch.number,
                )


def _write_model(
    config: DynamicsConfig, model: nn.Module, run: DynamicsRun, directory: RunDirectory
) -> None:
    """Write the best weights: of a backbone as a model like any other, which all commands serve."""
    if not isinstance(model, MolecularPotential):
        save_dynamics(config, run.best, directory.model)
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
    curves = rollout.curves()
    with written_by_rename(directory.rollout) as path:
        np.savez(path, times=times, **curves)
    rollout_errors(times, {config.model.name: curves}, directory.plots / "rollout.png")


def _draw_history(run: DynamicsRun, directory: RunDirectory) -> None:
    losses, errors = ([line[name] for line in run.history] for name in ("loss", "valid"))
    learning_curve(
        range(len(run.history)),
        {"states": losses},
        {"states MSE": errors},
        directory.plots / "learning_curve.png",
    )
