"""Forces that contradict the energies beside them, along paths of ASE's own potential."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from ase import units
from ase.build import molecule
from ase.calculators.emt import EMT

from molequi.datasets.formats.force_checks import held_atoms, other_axes, suspicious_forces
from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.properties import PROPERTIES


def path(step: float, n_frames: int = 12) -> Frames:
    """Ethanol on a random walk."""
    rng = np.random.default_rng(1)
    atoms = molecule("CH3CH2OH")
    atoms.calc = EMT()
    positions, energies, forces = [], [], []
    for _ in range(n_frames):
        atoms.positions += rng.normal(0, step, atoms.positions.shape)
        positions.append(atoms.positions.copy())
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
    return make_frames(
        torch.from_numpy(np.concatenate(positions)),
        torch.from_numpy(np.tile(atoms.numbers, n_frames)),
        torch.full((n_frames,), len(atoms)),
        targets={
            "energy": torch.tensor(energies),
            "forces": torch.from_numpy(np.concatenate(forces)),
        },
        properties={name: PROPERTIES[name] for name in ("energy", "forces")},
    )


def scaled(frames: Frames, factor: float) -> Frames:
    targets = {**frames.targets, "forces": factor * frames.targets["forces"]}
    return dataclasses.replace(frames, targets=targets)


def test_gradients_for_forces_are_named() -> None:
    frames = path(0.02)
    assert suspicious_forces(frames) == []
    (line,) = suspicious_forces(scaled(frames, -1.0))
    assert "the sign of gradients: over 11 steps" in line
    assert "data.units.forces=-eV/Å" in line


@pytest.mark.parametrize("factor", [units.mol / units.kcal, 1 / units.Hartree, units.Bohr])
def test_another_unit_is_named(factor: float) -> None:
    (line,) = suspicious_forces(scaled(path(0.02), factor))
    slope = float(line.split("energy changes ")[1].split(" times")[0])
    assert slope == pytest.approx(1 / factor, rel=0.1)


def test_frames_far_apart_say_nothing() -> None:
    assert suspicious_forces(scaled(path(0.4), -1.0)) == []
    assert suspicious_forces(scaled(path(0.02, 4), -1.0)) == []
    alone = path(0.02)
    assert suspicious_forces(alone.with_targets(["forces"])) == []
    missing = alone.targets["energy"].clone().fill_(torch.nan)
    unlabelled = dataclasses.replace(alone, targets={**alone.targets, "energy": missing})
    assert suspicious_forces(unlabelled) == []


@pytest.mark.parametrize("factor", [1e-170, 1e-320])
def test_forces_too_small_for_their_squares_say_nothing(factor: float) -> None:
    assert suspicious_forces(scaled(path(0.02), factor)) == []


def shaken_waters(size: float, n_frames: int = 12) -> Frames:
    """Water with stiff bonds (40 eV/Å²), shaken anew for each frame."""
    rng = np.random.default_rng(2)
    atoms = molecule("H2O")
    positions, forces = [], []
    for _ in range(n_frames):
        here = atoms.positions + rng.normal(0, size, (3, 3))
        pulls = np.zeros((3, 3))
        for hydrogen in (1, 2):
            bond = here[hydrogen] - here[0]
            length = np.linalg.norm(bond)
            pull = -40.0 * (length - 0.97) * bond / length
            pulls[hydrogen] += pull
            pulls[0] -= pull
        positions.append(here)
        forces.append(pulls)
    return make_frames(
        torch.from_numpy(np.concatenate(positions)),
        torch.from_numpy(np.tile(atoms.numbers, n_frames)),
        torch.full((n_frames,), 3),
        targets={"forces": torch.from_numpy(np.concatenate(forces))},
        properties={"forces": PROPERTIES["forces"]},
    )


def test_gradients_are_named_in_frames_of_any_order() -> None:
    frames = shaken_waters(0.05)
    assert suspicious_forces(frames) == []
    (line,) = suspicious_forces(scaled(frames, -1.0))
    assert "of 24 bonds to hydrogen the longer ones are pushed apart" in line
    assert suspicious_forces(scaled(shaken_waters(0.002), -1.0)) == []  # too much alike


def test_a_force_that_is_missing_hides_no_sign() -> None:
    frames = scaled(shaken_waters(0.05), -1.0)
    frames.targets["forces"][4] = torch.nan
    assert "of 23 bonds" in suspicious_forces(frames)[0]


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("Ha/bohr", units.Bohr / units.Hartree), ("kcal/mol/Å", units.mol / units.kcal)],
)
def test_units_are_told_by_bonds_in_frames_of_any_order(unit: str, factor: float) -> None:
    frames = scaled(shaken_waters(0.05), factor)
    (line,) = suspicious_forces(frames)
    assert "forces: taken as eV/Å, but along 24 bonds to hydrogen" in line
    assert f"data.units.forces={unit}" in line
    right = scaled(frames, 1 / factor)
    assert suspicious_forces(right, unit) == []  # they were converted from it
    (line,) = suspicious_forces(scaled(right, 1 / factor), unit)  # they were eV/Å
    assert f"forces: taken as {unit}" in line
    assert "data.units.forces=eV/Å" in line
    (line,) = suspicious_forces(scaled(right, -1.0), unit)
    assert f"data.units.forces=-{unit}" in line


def test_atoms_that_were_held_are_told_from_those_at_rest() -> None:
    frames = shaken_waters(0.05, 4)
    assert held_atoms(frames) == []
    held = frames.targets["forces"].clone()
    held[::3] = 0.0
    (line,) = held_atoms(dataclasses.replace(frames, targets={"forces": held}))
    assert "4 atoms in 4 frames have exactly zero force" in line
    held[2::3] = -held[1::3]  # a force on the one balances that on the other
    assert held_atoms(dataclasses.replace(frames, targets={"forces": held})) == []


def test_forces_of_other_axes_than_the_positions_are_named() -> None:
    frames = path(0.02)
    assert other_axes(frames) == []
    turned = frames.targets["forces"].roll(1, dims=1)  # x to y to z: a rotation
    frames = dataclasses.replace(frames, targets={**frames.targets, "forces": turned})
    (line,) = other_axes(frames)
    assert "those of 12 of 12 molecules would turn the molecule as a whole" in line
    assert other_axes(dataclasses.replace(frames, pbc=torch.ones_like(frames.pbc))) == []
