"""Trajectories of a molecule: of a file, or under a molecular model.

What a potential is learned from, and the teacher that it is compared with where there is one.

Units: eV, Å, amu; the unit of time that follows is `ase.units`'s, 10.18 fs.
"""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np
import torch
from ase import units
from ase.data import atomic_masses

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.in_memory import Frames
from molequi.datasets.places import find_data
from molequi.errors import UserError
from molequi.hamiltonian.config import MoleculeSettings
from molequi.hamiltonian.mechanics import N_TRANSITIONS, Segments, Systems, rk4
from molequi.hamiltonian.potential import MolecularPotential
from molequi.models.zoo import load
from molequi.structures.readers import read_structures

# Time for the potential and kinetic energy to share what they began with, fs.
_SETTLING = 50.0


def read_frames(settings: MoleculeSettings) -> list[ase.Atoms]:
    """Return what `data.path` holds: one molecule, or a trajectory of one.

    Raises UserError where a frame is damaged, periodic, or of other atoms than the first.
    """
    found = [structure for _, structure in read_structures(find_data(settings.path))]
    broken = [structure for structure in found if isinstance(structure, str)]
    if broken:
        raise UserError(f"data.path {settings.path} holds {broken[0]}")
    frames = [structure for structure in found if not isinstance(structure, str)]
    for number, atoms in enumerate(frames):
        if atoms.pbc.any():
            raise UserError(f"data.path {settings.path} is periodic; give a molecule")
        if list(atoms.numbers) != list(frames[0].numbers):
            raise UserError(
                f"data.path {settings.path}: frame {number} has other atoms than frame 0; give one "
                "molecule, or a trajectory of one with its atoms in one order"
            )
    return frames


def make_teacher(settings: MoleculeSettings) -> MolecularPotential:
    """Return the teacher of one molecule.

    Raises UserError where the file does not hold one molecule that the teacher knows.
    """
    structures = read_frames(settings)
    if len(structures) != 1:
        raise UserError(
            f"data.path {settings.path} holds {len(structures)} structures; give a file with one "
            "molecule"
        )
    frames = frames_from_atoms(structures, source=(settings.path,))
    model = load(settings.teacher, dtype="float64")
    if "energy" not in model.outputs:
        raise UserError(
            f"data.teacher {settings.teacher} predicts {', '.join(model.outputs)}; give a model "
            "with an energy"
        )
    model.check_input(frames.batch(torch.arange(1), model.cutoff)[0])
    return MolecularPotential(model.freeze(), frames)


def given_trajectory(settings: MoleculeSettings, frames: Sequence[ase.Atoms]) -> Segments:
    """Return the trajectory of a file, its frames `data.timestep` apart.

    Raises UserError where a frame has no momenta.
    """
    for number, atoms in enumerate(frames):
        if not atoms.has("momenta"):
            raise UserError(
                f"data.path {settings.path}: frame {number} has no momenta, which a trajectory to "
                "learn from needs in every frame; `molequi md` and ASE write them"
            )
    states = torch.from_numpy(
        np.array([[atoms.get_positions(), atoms.get_momenta()] for atoms in frames])
    )
    times = torch.arange(len(frames), dtype=torch.float64) * settings.timestep * units.fs
    molecule = frames_from_atoms(frames[:1], source=(settings.path,))
    return Segments(states[None], times, describe_molecule(molecule, 1))


def describe_molecule(frames: Frames, n_systems: int) -> Systems:
    """Return copies of the molecule: its masses in amu, its elements as one feature each."""
    elements = torch.unique(frames.atomic_numbers)
    features = (frames.atomic_numbers[:, None] == elements).double()
    masses = torch.from_numpy(atomic_masses)[frames.atomic_numbers]
    copies = (
        field.expand(n_systems, *field.shape)
        for field in (masses, features, torch.zeros_like(masses))
    )
    return Systems(*copies)


def run_teacher(teacher: MolecularPotential, settings: MoleculeSettings) -> Segments:
    """Return two trajectories from the same geometry with different velocities.

    Both are as long as the longer of the two that are asked for. Velocities are drawn at twice the
    temperature, without momentum; what the first 50 fs show is thrown away.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    systems = describe_molecule(teacher.frames, 2)
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
