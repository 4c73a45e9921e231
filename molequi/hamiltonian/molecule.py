"""Trajectories of a molecule: of a file, or under a molecular model.

What a potential is learned from, and the teacher that it is compared with where there is one.

Units: eV, Å, amu; the unit of time that follows is `ase.units`'s, 10.18 fs.
"""

from __future__ import annotations

import torch
from ase import units
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.trajectories import MoleculeFrames, read_molecule
from molequi.errors import UserError
from molequi.graphs.elements import MASSES
from molequi.hamiltonian.config import MoleculeSettings
from molequi.hamiltonian.mechanics import N_TRANSITIONS, Segments, Systems, rk4
from molequi.hamiltonian.potential import MolecularPotential
from molequi.models.zoo import load

# Time for the potential and kinetic energy to share what they began with, fs.
_SETTLING = 50.0
_SAME_TIME = 1e-3


def make_teacher(settings: MoleculeSettings) -> MolecularPotential:
    """Return the teacher of one molecule.

    Raises UserError where the file does not hold one molecule that the teacher knows.
    """
    found = read_molecule(settings.path)
    if len(found.positions) != 1:
        raise UserError(
            f"data.path {settings.path} holds {len(found.positions)} structures; give a file with "
            "one molecule"
        )
    frames = found.molecule
    model = load(settings.teacher, dtype="float64")
    if "energy" not in model.outputs:
        raise UserError(
            f"data.teacher {settings.teacher} predicts {', '.join(model.outputs)}; give a model "
            "with an energy"
        )
    model.check_input(frames.batch(torch.arange(1), model.cutoff)[0])
    return MolecularPotential(model.freeze(), frames)


def given_trajectory(settings: MoleculeSettings, found: MoleculeFrames) -> Segments:
    """Return the trajectory of a file, its frames `data.timestep` apart.

    Raises UserError where it has no momenta, or frames that tell another time between them.
    """
    if found.momenta is None:
        raise UserError(f"data.path {settings.path} is one structure, no trajectory")
    if found.interval is not None and abs(found.interval / settings.timestep - 1) > _SAME_TIME:
        raise UserError(
            f"the frames of data.path {settings.path} are {found.interval:g} fs apart, and "
            f"data.timestep is {settings.timestep:g}; write data.timestep={found.interval:g}"
        )
    states = torch.stack([found.positions, found.momenta], dim=1)
    times = torch.arange(len(states), dtype=torch.float64) * settings.timestep * units.fs
    return Segments(states[None], times, describe_molecule(found.molecule, 1, found.masses))


def describe_molecule(frames: Frames, n_systems: int, masses: Tensor | None = None) -> Systems:
    """Return copies of the molecule: its elements as one feature each.

    masses: (N,), amu; those of natural mixtures where none are given.
    """
    if masses is None:
        masses = torch.from_numpy(MASSES)[frames.atomic_numbers]
    elements = torch.unique(frames.atomic_numbers)
    features = (frames.atomic_numbers[:, None] == elements).double()
    copies = (
        field.expand(n_systems, *field.shape)
        for field in (masses, features, torch.zeros_like(masses))
    )
    return Systems(*copies)


def run_teacher(
    teacher: MolecularPotential, settings: MoleculeSettings, masses: Tensor | None = None
) -> Segments:
    """Return two trajectories from the same geometry with different velocities; masses: (N,), amu.

    Both are as long as the longer of the two that are asked for. Velocities are drawn at twice the
    temperature, without momentum; what the first 50 fs show is thrown away.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    systems = describe_molecule(teacher.frames, 2, masses)
    noise = torch.randn(
        2, *teacher.frames.positions.shape, dtype=torch.float64, generator=generator
    )
    p = noise * (2.0 * settings.temperature * units.kB * systems.masses[..., None]).sqrt()
    p = (
        p
        - systems.masses[..., None] * p.sum(1, keepdim=True) / systems.masses.sum(1)[:, None, None]
    )
    n_settling, n_kept = (
        round(length / settings.timestep)
        for length in (_SETTLING, 1000.0 * max(settings.train, settings.test))
    )
    times = (
        torch.arange(n_settling + n_kept + 1, dtype=torch.float64) * settings.timestep * units.fs
    )
    start = torch.stack((teacher.frames.positions.expand_as(p), p), dim=1)
    with torch.no_grad():
        states = rk4(lambda state: teacher(state, systems), start, times)
    return Segments(states[:, n_settling:], times[: n_kept + 1], systems)


def cut(trajectory: Segments) -> Segments:
    """Cut one trajectory into pieces of 4 transitions, each starting where the one before ends."""
    starts = torch.arange(0, trajectory.states.shape[1] - N_TRANSITIONS, N_TRANSITIONS)
    states = trajectory.states[0, starts[:, None] + torch.arange(N_TRANSITIONS + 1)]
    return Segments(
        states,
        trajectory.times[: N_TRANSITIONS + 1],
        trajectory.systems.pick(torch.zeros(len(starts), dtype=torch.int64)),
    )
