"""The table of targets: a model beside what it computed itself has no errors."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
import targets
import torch
from ase import Atoms
from ase.build import molecule

from molequi.datasets.making import make_frames
from molequi.datasets.npz import save_npz
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.models.zoo import load
from molequi.properties import DEBYE, PROPERTIES
from molequi.simulation.calculator import Calculator
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.vibrations import vibrations


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random model with gentle forces: H C N O."""
    network = make_model(
        [1, 6, 7, 8],
        ["energy", "dipole"],
        n_layers=1,
        n_channels=8,
        l_max=1,
        metadata=ModelMetadata(name="random"),
    )
    network.heads["energy"].set_statistics(1e-2)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_model(network, path)
    return path


def table(model: Path | str, *arguments: object) -> dict[str, targets.Row]:
    settings = targets.parse([str(model), *map(str, arguments), "--threads", "1"])
    return {row.what: row for row in targets.rows(settings)}


def labelled(atoms: Atoms, model: Path | str) -> Atoms:
    atoms.calc = Calculator(model)
    return atoms


def test_held_out_errors_are_those_planted(model, tmp_path):
    """Labels are the model's own, but 0.01 eV/Å on every force and 0.1 eV on every energy."""
    frames = [labelled(molecule(name), model) for name in ("CH3OH", "C6H6", "CH3Cl")]
    known = [labelled(atoms, model) for atoms in frames[:2]]
    energies = [atoms.get_potential_energy() + 0.1 for atoms in known] + [0.0]
    forces = [atoms.get_forces() + 0.01 for atoms in known] + [np.zeros((5, 3))]
    data = make_frames(
        torch.as_tensor(np.concatenate([atoms.positions for atoms in frames])),
        torch.as_tensor(np.concatenate([atoms.numbers for atoms in frames])),
        torch.tensor([len(atoms) for atoms in frames]),
        targets={
            "energy": torch.tensor(energies, dtype=torch.float64),
            "forces": torch.as_tensor(np.concatenate(forces)),
        },
        properties={name: PROPERTIES[name] for name in ("energy", "forces")},
    )
    save_npz(data, tmp_path / "set.npz", splits={"test": torch.arange(3)})
    rows = table(model, "--data", tmp_path / "set.npz", "--only", "data")
    assert rows["forces, held out"].value == pytest.approx(10.0, abs=1e-3)
    assert rows["forces, held out"].note == "2 of 3 frames"
    energy = rows["energy, held out, up to 60 atoms"].value
    assert energy == pytest.approx(0.1 * 23.0605, abs=1e-3)
    assert rows["forces, 11 to 24 atoms"].note == "1 frames"


def test_own_geometries_and_frequencies_have_no_error(tmp_path):
    """Those of the bundled model, but for one bond, which is 0.03 Å longer in the reference."""
    frames = []
    for formula in ("H2O", "NH3"):
        relaxed = relax_atoms(labelled(molecule(formula), "organic"), fmax=1e-3).atoms
        frames.append(Atoms(relaxed.numbers, relaxed.positions))
    water, ammonia = frames
    bond = ammonia.get_distance(0, 1, vector=True)
    ammonia.positions[1] += 0.03 * bond / np.linalg.norm(bond)
    frames.append(Atoms("NaH", [[0, 0, 0], [0, 0, 1.89]]))
    for atoms in frames:
        atoms.info |= {"name": str(atoms.symbols), "charge": 0}
    ase.io.write(tmp_path / "own.extxyz", frames)
    modes = vibrations(water, load("organic", dtype="float64"))["frequencies_cm1"]
    entry = {"positions": water.positions.tolist(), "frequencies_cm1": modes}
    document = {"water": entry | {"numbers": [8, 1, 1]}, "metal": entry | {"numbers": [11, 1, 1]}}
    (tmp_path / "own.json").write_text(json.dumps(document))
    rows = table(
        "organic", "--geometries", tmp_path / "own.extxyz", "--picoseconds", 0,
        "--frequencies", tmp_path / "own.json", "--only", "geometries", "frequencies",
    )  # fmt: skip
    assert rows["frequencies, MAE"].value == pytest.approx(0.0, abs=0.5)
    assert rows["frequencies, MAE"].note == "water 0"
    assert rows["bonds after relaxation, MAE"].note == "2 molecules, 1 refused, 0 not at rest"
    assert rows["bonds after relaxation, MAE"].value == pytest.approx(0.03 / 5, abs=1e-3)
    assert rows["worst bond"].value == pytest.approx(0.03, abs=2e-3)
    assert rows["worst bond"].note == "NH3"


def test_dipoles_are_lengths_of_errors(model, tmp_path):
    water = labelled(molecule("H2O"), model)
    own = water.get_dipole_moment()
    np.savez(
        tmp_path / "ani.npz",
        z=np.tile(water.numbers, 3),
        pos=np.tile(water.positions, (3, 1)),
        n_atoms=np.array([3, 3, 3]),
        dipole_tz=np.array([own + [0, 3 * DEBYE, 4 * DEBYE], own, [np.nan] * 3]),
    )
    rows = table(model, "--ani1x", tmp_path / "ani.npz", "--only", "dipoles")
    assert rows["dipoles of ANI-1x"].value == pytest.approx(2.5, abs=1e-4)
    assert rows["dipoles of ANI-1x"].note == "2 vectors"


def test_suites_speed_and_water(model, tmp_path):
    ethane = molecule("C2H6")
    numbers = ethane.numbers.tolist()
    conformers = [
        {"numbers": numbers, "positions": (s * ethane.positions).tolist(), "kcal_mol": e}
        for s, e in ((1.0, 0.0), (1.01, 1.0))
    ]
    document = {"molecules": [{"name": "ethane", "conformers": conformers}]}
    (tmp_path / "conformers.json.gz").write_bytes(gzip.compress(json.dumps(document).encode()))
    rows = table(model, "--suites", tmp_path, "--only", "suites", "water", "speed")
    assert abs(rows["conformers, Spearman"].value) == 1.0
    assert rows["energy and forces, ours"].value > 0
    assert {"water dimer, energy at S22", "water dimer, O-O"} <= set(rows)


def test_survivors_are_counted(model, tmp_path):
    """A model with hardly any forces: what is not bound flies apart, cold molecules stay."""
    large = molecule("C6H6") + molecule("C6H6")
    large.positions[12:] += [0, 0, 4.0]
    large.info |= {"name": "pair", "charge": 0}
    ase.io.write(tmp_path / "pair.extxyz", large)
    rows = table(
        model, "--geometries", tmp_path / "pair.extxyz", "--picoseconds", 0.005,
        "--only", "stability",
    )  # fmt: skip
    assert rows["survivors of 1, 0.005 ps at 300 K"].value == 1
    assert rows["survivors of 1, 0.005 ps at 500 K"].value == 1
