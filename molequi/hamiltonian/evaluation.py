"""How well learned dynamics follow the true ones.

Errors of states, energies and momenta along a rollout.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from molequi.hamiltonian.data import DynamicsData
from molequi.hamiltonian.mechanics import (
    HamiltonianModel,
    Segments,
    Systems,
    angular_momentum,
    linear_momentum,
    rk4,
)
from molequi.hamiltonian.potential import MolecularPotential

# Steps of RK4 between two states of a rollout: its error is then far below a model's.
_SUBSTEPS = 2
# Frames of an unseen trajectory on which forces are compared.
_N_FORCE_FRAMES = 200
# States, or segments, that are computed at once.
_CHUNK = 200


class Rollout(NamedTuple):
    """A rollout in numbers at each of T times.

    predicted: (B, T, 2, N, d). state: (T,), mean square error of all entries. energy_change: (B,
    T), H(predicted) - H(start), H the true one.
    energy: (T,), mean of its size over |H(start)|. linear, angular: (T,), rms change of the
    momentum over the rms momentum.
    """

    predicted: Tensor
    state: Tensor
    energy: Tensor
    energy_change: Tensor
    linear: Tensor
    angular: Tensor

    def curves(self) -> dict[str, Any]:
        """Return what is drawn along the times."""
        drawn = {"state": self.state, "energy": self.energy}
        drawn |= {"linear": self.linear, "angular": self.angular}
        return {name: values.numpy() for name, values in drawn.items()}


def segment_error(
    model: nn.Module, segments: Segments, scales: Tensor, *, n_substeps: int = 1
) -> Tensor:
    """Return the mean square error of the predicted states, in units of `scales` (2,) for q and p.

    Differentiable where gradients are enabled.
    """
    predicted = rk4(
        lambda z: model(z, segments.systems), segments.states[:, 0], segments.times, n_substeps
    )
    return ((predicted[:, 1:] - segments.states[:, 1:]) / scales[:, None, None]).square().mean()


@torch.no_grad()
def energies_along(model: HamiltonianModel, states: Tensor, systems: Systems) -> Tensor:
    """Return H of states (B, T, 2, N, d) by a model: (B, T)."""
    n_systems, n_times = states.shape[:2]
    owners = torch.arange(n_systems, device=states.device).repeat_interleave(n_times)
    parts = zip(states.flatten(0, 1).split(_CHUNK), owners.split(_CHUNK), strict=True)
    return torch.cat([model.energy(part, systems.pick(rows)) for part, rows in parts]).reshape(
        n_systems, n_times
    )


@torch.no_grad()
def follow(
    model: nn.Module,
    truth: HamiltonianModel,
    trajectories: Segments,
    *,
    n_substeps: int = _SUBSTEPS,
) -> Rollout:
    """Roll the model out from the first states of true trajectories and compare."""
    systems, states = trajectories.systems, trajectories.states
    predicted = rk4(lambda z: model(z, systems), states[:, 0], trajectories.times, n_substeps)
    energy = energies_along(truth, predicted, systems)
    change = energy - energy[:, :1]
    return Rollout(
        predicted=predicted,
        state=(predicted - states).square().mean((0, 2, 3, 4)),
        energy=(change.abs() / energy[:, :1].abs()).mean(0),
        energy_change=change,
        linear=_relative_change(linear_momentum(predicted)),
        angular=_relative_change(angular_momentum(predicted)),
    )


def _relative_change(momentum: Tensor) -> Tensor:
    """Return the rms change over the rms value at the start, of momenta (B, T, k): (T,)."""
    start = momentum[:, :1]
    return ((momentum - start).square().mean((0, 2)) / start.square().mean((0, 2))).sqrt()


@torch.no_grad()
def mean_error(
    model: nn.Module, segments: Segments, scales: Tensor, *, n_substeps: int = 1
) -> float:
    """Return `segment_error` of many segments, a few at once."""
    parts = torch.arange(segments.n_systems).split(_CHUNK)
    errors = [
        float(segment_error(model, segments.pick(rows), scales, n_substeps=n_substeps)) * len(rows)
        for rows in parts
    ]
    return sum(errors) / segments.n_systems


def measure_split(
    model: nn.Module, data: DynamicsData, split: str, *, n_substeps: int = 1
) -> dict[str, dict[str, Any]]:
    """Return the error of the states that follow on the segments of a split, model in float64.

    n_substeps: those of the training, `training.substeps`.
    """
    segments = {"train": data.train, "valid": data.valid, "test": data.test}[split]
    error = mean_error(model, segments, data.scales, n_substeps=n_substeps)
    return {f"{split}_mse": _row(error)}


class Measured(NamedTuple):
    """Results by name, each with value and unit, and the rollout that they are of."""

    result: dict[str, dict[str, Any]]
    rollout: Rollout


def measure(model: nn.Module, data: DynamicsData, *, n_substeps: int = 1) -> Measured:
    """Return the results of a model in float64.

    n_substeps: those of the training, `training.substeps`: with fewer the integrator is measured
    and not the model. Rollouts take more where they have more by themselves.
    """
    model = model.double()
    if isinstance(model, MolecularPotential):
        model = model.frozen()
    error = mean_error(model, data.test, data.scales, n_substeps=n_substeps)
    result = {"test_mse": _row(error)}
    if data.truth is None:
        return _without_teacher(model, data.rollouts, result, n_substeps)
    rollout = follow(
        model,
        data.truth,
        data.rollouts,
        n_substeps=max(n_substeps, 1 if isinstance(data.truth, MolecularPotential) else _SUBSTEPS),
    )
    if isinstance(data.truth, MolecularPotential):
        result |= _molecule_rows(model, data.truth, data.rollouts, rollout)
        return Measured(result, rollout)
    result["rollout_state_mse"] = _row(rollout.state[1:].mean())
    result["rollout_energy_error"] = _row(rollout.energy[1:].mean())
    result["linear_momentum_change"] = _row(rollout.linear.max())
    result["angular_momentum_change"] = _row(rollout.angular.max())
    return Measured(result, rollout)


def _without_teacher(
    model: nn.Module, trajectory: Segments, result: dict[str, dict[str, Any]], n_substeps: int
) -> Measured:
    """Compare with the trajectory alone: forces with dp/dt by central differences.

    A model without an energy has no change of its own.
    """
    states, step = trajectory.states, trajectory.times[1] - trajectory.times[0]
    true = (states[0, 2:, 1] - states[0, :-2, 1]) / (2.0 * step)
    every = max(len(true) // _N_FORCE_FRAMES, 1)
    frames, true = states[0, 1:-1:every], true[::every]
    copies = trajectory.systems.pick(torch.zeros(len(frames), dtype=torch.int64))
    with torch.no_grad():
        learned = model(frames, copies)[:, 1]
        predicted = rk4(
            lambda z: model(z, trajectory.systems), states[:, 0], trajectory.times, n_substeps
        )
    change = predicted.new_zeros(predicted.shape[:2])
    result |= {
        "force_mae": _row((learned - true).abs().mean(), "eV/Å"),
        "force_baseline_mae": _row(true.abs().mean(), "eV/Å"),
    }
    if isinstance(model, HamiltonianModel):
        energies = energies_along(model, predicted, trajectory.systems)
        change = energies - energies[:, :1]
        result["own_energy_change"] = _row(change.abs().max(), "eV")
    rollout = Rollout(
        predicted=predicted,
        state=(predicted - states).square().mean((0, 2, 3, 4)),
        energy=change.abs().mean(0),
        energy_change=change,
        linear=_relative_change(linear_momentum(predicted)),
        angular=_relative_change(angular_momentum(predicted)),
    )
    return Measured(result, rollout)


def _molecule_rows(
    model: nn.Module, teacher: MolecularPotential, trajectory: Segments, rollout: Rollout
) -> dict[str, dict[str, Any]]:
    """Compare forces on frames of the unseen trajectory, and energies along the rollout.

    The energy is the teacher's, compared with its start. A rollout of the teacher itself by the
    same integrator changes that energy too, by `teacher_energy_change`; what a model with an energy
    follows changes its own by `own_energy_change`.
    """
    every = max(trajectory.states.shape[1] // _N_FORCE_FRAMES, 1)
    frames = trajectory.states[0, ::every]
    copies = trajectory.systems.pick(torch.zeros(len(frames), dtype=torch.int64))
    with torch.no_grad():
        learned, true = model(frames, copies)[:, 1], teacher.forces(frames[:, 0])
    rows = {
        "force_mae": _row((learned - true).abs().mean(), "eV/Å"),
        "force_baseline_mae": _row(true.abs().mean(), "eV/Å"),
        "energy_error_mean": _row(rollout.energy_change.abs().mean(), "eV"),
        "energy_error_max": _row(rollout.energy_change.abs().max(), "eV"),
        "teacher_energy_change": _row(
            _largest_change(teacher, trajectory.states, trajectory.systems), "eV"
        ),
        "linear_momentum_per_atom": _row(
            linear_momentum(rollout.predicted).norm(dim=-1).max() / frames.shape[2], "sqrt(amu eV)"
        ),
    }
    if isinstance(model, HamiltonianModel):
        rows["own_energy_change"] = _row(
            _largest_change(model, rollout.predicted, trajectory.systems), "eV"
        )
    return rows


def _largest_change(model: HamiltonianModel, states: Tensor, systems: Systems) -> Tensor:
    energies = energies_along(model, states, systems)
    return (energies - energies[:, :1]).abs().max()


def _row(value: Tensor | float, unit: str = "1") -> dict[str, Any]:
    number = float(value)
    return {"value": number if math.isfinite(number) else None, "unit": unit}
