"""Training on interaction energies: what a model gives for them, and that a run learns them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
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
from molequi.structures.inputs import one_structure
from molequi.training.loss import Objective
from molequi.training.predictions import predict_frames
from molequi.training.symmetry import way_to_keep
from tests.training.conftest import _energies

TARGETS = ["energy", "interaction_energy"]
NAMES = ("energy", "interaction_energy", "pieces")


def complexes(n_frames: int, *, seed: int = 0):
    """Pairs of CO and H2 with the toy law's energies; every third has no label of interaction."""
    generator = torch.Generator().manual_seed(seed)
    one = torch.tensor([[0.0, 0.0, 0.0], [1.2, 0.0, 0.0]], dtype=torch.float64)
    numbers, told = torch.tensor([6, 8, 1, 1]), torch.tensor([0.0, 0.0, 1.0, 1.0])
    positions, labels = [], []
    for _ in range(n_frames):
        shift = torch.tensor([0.0, 1.5, 0.0]) + torch.rand(3, generator=generator)
        shaken = 0.1 * torch.randn(4, 3, generator=generator, dtype=torch.float64)
        places = torch.cat([one, 0.7 * one + shift]) + shaken
        positions.append(places)
        labels.append([
            float(_energies(places[rows], numbers[rows], torch.zeros(len(rows), dtype=int), 1)[0])
            for rows in (torch.arange(4), torch.arange(2), torch.arange(2, 4))
        ])  # fmt: skip
    whole, first, second = torch.tensor(labels, dtype=torch.float64).T
    interaction = whole - first - second
    pieces = torch.stack([told, torch.zeros(4)], dim=1).to(torch.float64).repeat(n_frames, 1)
    interaction[::3] = torch.nan
    pieces.view(n_frames, 4, 2)[::3] = torch.nan
    return make_frames(
        torch.cat(positions), numbers.repeat(n_frames), torch.full((n_frames,), 4),
        targets=dict(zip(NAMES, (whole, interaction, pieces), strict=True)),
        properties={name: PROPERTIES[name] for name in NAMES},
    )  # fmt: skip


def test_interaction_of_a_model_is_its_energies_less():
    model = make_model((1, 6, 8), ["energy"], n_layers=1, n_channels=4, l_max=1, cutoff=4.0)
    frames = complexes(4)
    found = predict_frames(model.double(), frames, ["interaction_energy"])["interaction_energy"]
    assert found[::3].tolist() == [0.0, 0.0]
    for k in (1, 2):
        places = frames.positions[4 * k : 4 * k + 4]
        parts = [
            make_frames(places[rows], torch.tensor([6, 8, 1, 1])[rows], torch.tensor([len(rows)]))
            for rows in (torch.arange(4), torch.arange(2), torch.arange(2, 4))
        ]
        whole, *alone = (float(predict_frames(model, one, ["energy"])["energy"]) for one in parts)
        assert float(found[k]) == pytest.approx(whole - sum(alone), abs=1e-9)


def test_run_learns_them_and_says_so(toy_config, toy_splits, tmp_path):
    save_npz(complexes(120), tmp_path / "toy.npz", splits=toy_splits(80, 20, 20))
    data = {"path": str(tmp_path / "toy.npz"), "targets": TARGETS, "split": {"kind": "stored"}}
    weights = {"energy": 1.0, "interaction_energy": 10.0}
    training = {"epochs": 15, "weights": weights}
    run = fit(toy_config(data=data, training=training), tmp_path / "run")
    row = json.loads((run / "result.json").read_text(encoding="utf-8"))["interaction_energy"]
    assert (row["unit"], row["count"]) == ("eV", sum(k % 3 > 0 for k in range(100, 120)))
    assert row["mae"] < 0.5 * row["baseline_mae"]
    assert "interaction_energy" not in load_model(run / "model.safetensors").properties
    again = evaluate(run / "model.safetensors", tmp_path / "toy.npz", split="test")
    assert again["interaction_energy"]["mae"] == pytest.approx(row["mae"], rel=1e-3)


def test_labels_of_a_file_are_those_of_the_bundled_model(tmp_path):
    """Ammonium and formate 4 Å apart, by `organic` itself: ions keep their charges alone."""
    parts = [
        one_structure(None, smiles=smiles, seed=0).require_atoms()
        for smiles in ("[NH4+]", "[O-]C=O")
    ]
    parts[1].translate([0.0, 0.0, 4.0])
    together = parts[0] + parts[1]
    energies = []
    for atoms, charge in ((together, 0), (parts[0], 1), (parts[1], -1)):
        atoms.info["charge"] = charge
        atoms.calc = Calculator("organic")
        energies.append(atoms.get_potential_energy())
    expected = energies[0] - energies[1] - energies[2]
    together.calc = None
    together.info |= {"energy": energies[0], "interaction_energy": expected}
    together.set_array("pieces", np.array([[0, 1]] * 5 + [[1, -1]] * 4))
    write(tmp_path / "pair.xyz", together, format="extxyz")
    found = evaluate("organic", tmp_path / "pair.xyz")["interaction_energy"]
    assert expected < -1.0
    assert found["count"] == 1
    assert found["mae"] == pytest.approx(0.0, abs=1e-5)


def test_symmetry_by_moving_molecules_takes_no_pieces():
    objective = Objective([PROPERTIES["interaction_energy"]], {"interaction_energy": 1.0})
    with pytest.raises(UserError, match="does not move pieces; leave interaction_energy out"):
        way_to_keep(ModelSettings(architecture="lieconv", symmetry="augmented"), objective)
