"""Training on relative energies: what a model gives for them, and that a run learns them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import write

from molequi.datasets.making import make_frames
from molequi.datasets.npz import save_npz
from molequi.errors import UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit
from molequi.models.checkpoint import load_model
from molequi.models.making import make_model
from molequi.models.settings import ModelSettings
from molequi.properties import PROPERTIES
from molequi.simulation.calculator import Calculator
from molequi.training.loss import Objective
from molequi.training.predictions import predict_frames
from molequi.training.symmetry import way_to_keep

ROW = PROPERTIES["relative_energy"]
NAMES = ("energy", "relative_energy", "other_positions")


def with_relative(frames):
    """Every structure beside the next of the same size; every third has no label."""
    n, places = len(frames), frames.positions
    energies, offsets = frames.targets["energy"], frames.offsets.tolist()
    labels, others = torch.full((n,), torch.nan, dtype=torch.float64), places * torch.nan
    for k in range(n):
        alike = [
            m
            for m in range(k + 1, n)
            if torch.equal(
                frames.atomic_numbers[offsets[m] : offsets[m + 1]],
                frames.atomic_numbers[offsets[k] : offsets[k + 1]],
            )
        ]
        if alike and k % 3:
            labels[k] = energies[k] - energies[alike[0]]
            there = places[offsets[alike[0]] : offsets[alike[0] + 1]]
            others[offsets[k] : offsets[k + 1]] = there
    return make_frames(
        places, frames.atomic_numbers, frames.n_atoms,
        targets=dict(zip(NAMES, (energies, labels, others), strict=True)),
        properties={name: PROPERTIES[name] for name in NAMES},
    )  # fmt: skip


def test_relative_energy_of_a_model_is_its_energies_less(toy_frames):
    model = make_model((1, 6, 8), ["energy"], n_layers=1, n_channels=4, l_max=1, cutoff=4.0)
    frames = with_relative(toy_frames(40))
    told = torch.nonzero(~torch.isnan(frames.targets[ROW.name]))[:, 0]
    assert len(told) > 3
    found = predict_frames(model.double(), frames, [ROW.name, "energy"])
    moved = make_frames(
        torch.where(
            torch.isnan(frames.targets["other_positions"]),
            frames.positions,
            frames.targets["other_positions"],
        ),
        frames.atomic_numbers,
        frames.n_atoms,
    )
    there = predict_frames(model, moved, ["energy"])["energy"]
    torch.testing.assert_close(found[ROW.name], found["energy"] - there, rtol=0, atol=1e-9)
    assert bool((found[ROW.name][told] != 0).all())


def test_run_learns_them_and_says_so(toy_frames, toy_config, toy_splits, tmp_path):
    frames = with_relative(toy_frames(120))
    save_npz(frames, tmp_path / "toy.npz", splits=toy_splits(80, 20, 20))
    data = {
        "path": str(tmp_path / "toy.npz"),
        "targets": ["energy", ROW.name],
        "split": {"kind": "stored"},
    }
    training = {"epochs": 20, "weights": {"energy": 1.0, ROW.name: 10.0}}
    run = fit(toy_config(data=data, training=training), tmp_path / "run")
    row = json.loads((run / "result.json").read_text(encoding="utf-8"))[ROW.name]
    labelled = ~torch.isnan(frames.targets[ROW.name])
    assert (row["unit"], row["count"]) == ("eV", int(labelled[100:].sum()))
    assert row["mae"] < 0.5 * row["baseline_mae"]
    assert ROW.name not in load_model(run / "model.safetensors").properties
    again = evaluate(run / "model.safetensors", tmp_path / "toy.npz", split="test")
    assert again[ROW.name]["mae"] == pytest.approx(row["mae"], rel=1e-3)


def test_labels_of_a_file_are_those_of_the_bundled_model(tmp_path):
    """Ethanol, its O-H turned about the C-O bond, by `organic` itself."""
    atoms = molecule("CH3CH2OH")
    other = atoms.copy()
    hydrogen = next(
        k for k in range(len(atoms)) if atoms.numbers[k] == 1 and atoms.get_distance(k, 2) < 1.1
    )
    other.set_dihedral(0, 1, 2, hydrogen, 60.0, indices=[hydrogen])
    energies = []
    for one in (atoms, other):
        one.calc = Calculator("organic")
        energies.append(one.get_potential_energy())
        one.calc = None
    assert abs(energies[0] - energies[1]) > 1e-3
    atoms.info |= {"energy": energies[0], "relative_energy": energies[0] - energies[1]}
    atoms.set_array("other_positions", np.asarray(other.positions))
    write(tmp_path / "two.xyz", atoms, format="extxyz")
    found = evaluate("organic", tmp_path / "two.xyz")[ROW.name]
    assert found["count"] == 1
    assert found["mae"] == pytest.approx(0.0, abs=1e-5)


def test_symmetry_by_moving_molecules_takes_no_other_positions():
    objective = Objective([ROW], {ROW.name: 1.0})
    with pytest.raises(UserError, match="does not move other_positions; leave relative_energy out"):
        way_to_keep(ModelSettings(architecture="lieconv", symmetry="augmented"), objective)
