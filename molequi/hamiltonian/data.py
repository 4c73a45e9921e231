"""What an experiment with dynamics learns from and is tested on: springs, or a molecule."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.trajectories import read_molecule
from molequi.errors import UserError
from molequi.hamiltonian.config import DynamicsConfig, MoleculeSettings, SpringSettings
from molequi.hamiltonian.mechanics import N_TRANSITIONS, PotentialModel, Segments, draw_angles
from molequi.hamiltonian.molecule import (
    cut,
    given_trajectory,
    make_teacher,
    run_teacher,
)
from molequi.hamiltonian.potential import MolecularPotential
from molequi.hamiltonian.springs import Drawn, Springs, make_segments
from molequi.models.freeze import FrozenModel

# States of a trajectory that is followed: 100 steps.
_N_ROLLOUT_TIMES = 101


class DynamicsData(NamedTuple):
    """Segments to train, validate and test on; whole trajectories to follow; the true dynamics.

    truth: None where a trajectory is all that there is. scales: (2,), the units of q and p in the
    loss. molecule: whose trajectories they are, if one's.
    """

    train: Segments
    valid: Segments
    test: Segments
    rollouts: Segments
    truth: PotentialModel | None
    scales: Tensor
    molecule: Frames | None = None


def digest_of(data: DynamicsData) -> str:
    """Return what tells these data from others that the same settings name: files may change.

    Of a molecule under a teacher that is where it begins and the teacher: trajectories differ by
    rounding between machines.
    """
    digest = hashlib.sha256()
    told = [] if data.molecule is None else [data.molecule.atomic_numbers, data.molecule.positions]
    if data.truth is None:
        told += [part.states for part in (data.train, data.valid, data.test)]
    elif isinstance(data.truth, MolecularPotential) and isinstance(data.truth.model, FrozenModel):
        digest.update(data.truth.model.digest().encode())
    for tensor in told:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def make_data(config: DynamicsConfig) -> DynamicsData:
    """Make the data of a config, the same ones for the same settings."""
    return (
        _springs(config.data) if isinstance(config.data, SpringSettings) else _molecule(config.data)
    )


def _springs(settings: SpringSettings) -> DynamicsData:
    """Every part has a random stream of its own.

    More training data are the same ones and others.
    """
    times = (
        torch.arange(settings.n_steps, dtype=torch.float64) * settings.duration / settings.n_steps
    )
    n_rollouts = min(settings.rollouts, settings.test)
    train, valid, test = (
        _lifted_springs(settings, 3 * settings.seed + number, count, n_whole, times)
        for number, (count, n_whole) in enumerate(
            ((settings.train, 0), (settings.valid, 0), (settings.test, n_rollouts))
        )
    )
    return DynamicsData(
        train=train.pieces,
        valid=valid.pieces,
        test=test.pieces,
        rollouts=Segments(
            test.whole.states[:, :_N_ROLLOUT_TIMES],
            times[:_N_ROLLOUT_TIMES],
            test.pieces.systems.pick(torch.arange(n_rollouts)),
        ),
        truth=Springs(),
        scales=torch.ones(2, dtype=torch.float64),
    )


def _lifted_springs(
    settings: SpringSettings, seed: int, count: int, n_whole: int, times: Tensor
) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    drawn = make_segments(count, n_whole, settings.n_particles, times, generator)
    systems = draw_angles(drawn.pieces.systems, generator)
    return drawn._replace(pieces=drawn.pieces._replace(systems=systems))


def _molecule(settings: MoleculeSettings) -> DynamicsData:
    """Make the trajectories of a molecule under a teacher, or take those of a file."""
    found = read_molecule(settings.path)
    n_train, n_test = (
        round(1000.0 * length / settings.timestep) + 1 for length in (settings.train, settings.test)
    )
    if n_train <= 10 * N_TRANSITIONS:
        raise UserError(
            f"data.train is {settings.train} ps, {n_train} states of {settings.timestep} fs; give "
            f"at least {10 * N_TRANSITIONS + 1}"
        )
    if n_test <= N_TRANSITIONS:
        raise UserError(
            f"data.test is {settings.test} ps, {n_test} states of {settings.timestep} fs; give at "
            f"least {N_TRANSITIONS + 1}"
        )
    n_frames = len(found.positions)
    if n_frames > 1:
        whole = given_trajectory(settings, found)
        if n_train + n_test > n_frames:
            raise UserError(
                f"data.path {settings.path} holds {n_frames} frames; data.train, data.test and "
                f"data.timestep, between frames, ask for {n_train} and {n_test} more: set them"
            )
        return _divided(
            whole, whole, n_train, slice(n_train, n_train + n_test), None, found.molecule
        )
    teacher = make_teacher(settings)
    both = run_teacher(teacher, settings, found.masses)
    other = Segments(
        both.states[1:], both.times, both.systems.pick(torch.ones(1, dtype=torch.int64))
    )
    return _divided(both, other, n_train, slice(n_test), teacher, teacher.frames)


def _divided(
    first: Segments,
    second: Segments,
    n_train: int,
    tested: slice,
    teacher: MolecularPotential | None,
    molecule: Frames,
) -> DynamicsData:
    """Train on the beginning of one trajectory, a tenth of it to validate; test on a second.

    Scales are the root mean square changes of q and p within a segment, for momenta are of another
    size than positions.
    """
    pieces = cut(Segments(first.states[:1, :n_train], first.times, first.systems))
    n_valid = pieces.n_systems // 10
    seen_states = second.states[:, tested]
    seen = Segments(seen_states, second.times[: seen_states.shape[1]], second.systems)
    train = pieces.pick(torch.arange(pieces.n_systems - n_valid))
    changes = train.states[:, 1:] - train.states[:, :1]
    valid = pieces.pick(torch.arange(pieces.n_systems - n_valid, pieces.n_systems))
    scales = changes.square().mean((0, 1, 3, 4)).sqrt()
    if not bool((scales > 0).all()):
        raise UserError(
            "positions or momenta of the trajectory never change, so that no force can be learned "
            "from them; give one that moves under forces"
        )
    return DynamicsData(train, valid, cut(seen), seen, teacher, scales, molecule)
