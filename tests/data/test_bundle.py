"""The recipe that turns a run into a bundled model and its card: errors are those planted."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import ase.io
import numpy as np
import pytest
import torch
import yaml
from ase.build import molecule

pytest.importorskip("rdkit")

from molequi.cli.library import _print_card
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import Electrons, make_frames
from molequi.datasets.npz import load_npz, save_npz
from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.zoo import load
from molequi.prediction.suites import KCAL_MOL
from molequi.properties import DEBYE, PROPERTIES
from molequi.training.config import make_config
from molequi.training.evaluation import Evaluation, evaluate_frames
from molequi.training.run_directory import RunDirectory

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
ELEMENTS = (1, 6, 8)
TARGETS = ["energy", "forces", "charges", "dipole", "forces_std"]
# What the labels of all frames differ by from what the model gives.
OFF_ENERGY, OFF_FORCE, OFF_OXYGEN, OFF_CHARGE = 0.5 * KCAL_MOL, 0.02, 0.1, 0.003
SOURCES = ("drug md CO", "qm9 relaxed C", "ion md [OH-]")


def recipe(name: str) -> ModuleType:
    if not RECIPES.exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(RECIPES))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(RECIPES))


bundle, errors, output = (recipe(f"bundle{name}") for name in ("", "_errors", "_output"))


@pytest.fixture
def model():
    """A random model that was told of two training structures."""
    metadata = ModelMetadata(
        name="x",
        level={"energy": "PBE"},
        charge_multiplicity=((-1, 1), (0, 1)),
        training=TrainingRecord(n_structures=2),
    )
    rows = [PROPERTIES[name] for name in TARGETS]
    return make_model(
        ELEMENTS, rows, n_layers=1, n_channels=8, l_max=1, metadata=metadata, seed=1
    ).to(torch.float64)


def structures():
    hydroxide = molecule("OH")
    return [molecule("CH3OH"), molecule("CH4"), hydroxide]


def unlabelled(targets=None):
    atoms = structures()
    shapes = {"energy": (3,), "forces": (13, 3), "charges": (13,), "dipole": (3, 3)}
    shapes["forces_std"] = (13,)
    targets = targets or {name: torch.zeros(shapes[name]) for name in TARGETS}
    return make_frames(
        torch.as_tensor(np.concatenate([a.positions for a in atoms])),
        torch.as_tensor(np.concatenate([a.numbers for a in atoms])),
        torch.tensor([len(a) for a in atoms]),
        electrons=Electrons(torch.tensor([0, 0, -1]), torch.ones(3, dtype=torch.int64)),
        targets={name: values.to(torch.float64) for name, values in targets.items()},
        properties={name: PROPERTIES[name] for name in TARGETS},
        source=SOURCES,
    )


@pytest.fixture
def loaded(model) -> LabelledSet:
    """The model's own predictions with the offsets above: all three frames are the part test."""
    own = evaluate_frames(model, unlabelled(), names=errors.COMPARED).predictions
    is_oxygen = (unlabelled().atomic_numbers == 8).to(torch.float64)
    targets = {
        "energy": own["energy"] + OFF_ENERGY,
        "forces": own["forces"] + OFF_FORCE + (OFF_OXYGEN - OFF_FORCE) * is_oxygen[:, None],
        "charges": own["charges"] - OFF_CHARGE,
        "dipole": own["dipole"] + torch.tensor([0.3, 0.0, 0.4]) * DEBYE,
        "forces_std": torch.full((13,), 0.01),
    }
    splits = {"train": torch.tensor([0, 1]), "valid": torch.tensor([1]), "test": torch.arange(3)}
    counts = {
        "all": {"frames": {"train": 2, "valid": 1, "test": 3, "dropped, spread": 4}},
        **{title: {} for title in ("element", "size", "charge", "category", "sampler")},
    }
    counts["element"] = {"C": {"train": 2}, "H": {"train": 2}}
    notes = {"counts": counts, "level": "PBE by hand", "completed_dispersion": 1}
    return LabelledSet(unlabelled(targets), None, splits, notes=notes)


@pytest.fixture
def evaluation(model, loaded) -> Evaluation:
    frames = errors.part(loaded.frames, loaded.splits["test"])
    return evaluate_frames(model, frames, names=errors.COMPARED)


def test_errors_are_those_planted(evaluation, loaded):
    found = errors.tables(evaluation, loaded.notes["counts"])
    everything = found["all"]["all"]
    assert everything["frames"] == 3
    assert everything[errors.ENERGY] == 0.5
    per_atom = 1e3 * OFF_ENERGY * np.mean([1 / 6, 1 / 5, 1 / 2])
    assert everything["energy MAE (meV/atom)"] == pytest.approx(per_atom, abs=0.006)
    assert everything[errors.FORCE] == pytest.approx((11 * 20 + 2 * 100) / 13, abs=0.06)
    assert everything["charge MAE (e)"] == OFF_CHARGE
    assert everything["dipole error (D)"] == 0.5
    # An element's forces are those of its atoms; its energies those of the frames with it.
    assert {z: group[errors.FORCE] for z, group in found["element"].items()} == {
        "H": 20.0, "C": 20.0, "O": 100.0,
    }  # fmt: skip
    assert [found["element"][z]["frames"] for z in "HCO"] == [3, 2, 2]
    assert [found["element"][z]["training frames"] for z in "HCO"] == [2, 2, 0]
    assert {name: group["frames"] for name, group in found["charge"].items()} == {
        "charge -1": 1, "charge +0": 2,
    }  # fmt: skip
    assert list(found["size"]) == ["1 to 10 atoms"]
    assert set(found["category"]) == {"drug", "qm9", "ion"}
    assert {name: group["frames"] for name, group in found["sampler"].items()} == {
        "md": 2, "relaxed": 1,
    }  # fmt: skip
    assert found["category"]["ion"][errors.FORCE] == pytest.approx(60.0)


def test_the_worst_are_named(evaluation, loaded, monkeypatch):
    monkeypatch.setattr(errors, "FEWEST", 1)
    monkeypatch.setattr(errors, "N_WORST", 2)
    evaluation.predictions["energy"][1] += 2 * KCAL_MOL
    lines = errors.worst(errors.tables(evaluation, loaded.notes["counts"]), evaluation)
    assert "largest force MAE (meV/Å) by element, of 1 frames or more: O 100, " in "\n".join(lines)
    assert "largest force MAE (meV/Å) by category, of 1 frames or more: ion 60, drug 33" in lines
    assert lines[-2] == "energy off by 1.5 kcal/mol, charge +0: qm9 relaxed C"
    monkeypatch.setattr(errors, "FEWEST", 4)
    assert not [line for line in errors.worst(
        errors.tables(evaluation, loaded.notes["counts"]), evaluation) if "largest" in line
    ]  # fmt: skip


def suite(folder: Path) -> Path:
    """A reaction of known molecules, and one of an element that the model does not know."""
    folder.mkdir()
    names = ("CH4", "H2O", "CH3OH", "H2", "HCl")
    for name in names:
        ase.io.write(folder / f"{name}.xyz", molecule(name))
    text = {
        "unit": "kcal/mol",
        "systems": {name: f"{name}.xyz" for name in names} | {"again": "HCl.xyz"},
        "reactions": [
            {"name": "oxidation", "reaction": "CH4 + H2O -> CH3OH + H2", "energy": 1.0},
            {"name": "nothing", "reaction": "HCl -> again", "energy": 0.0},
        ],
    }
    (folder / "reactions.yaml").write_text(yaml.safe_dump(text))
    return folder


def written_run(folder: Path) -> RunDirectory:
    """What a run leaves behind that the card reads."""
    text = {
        "name": "tiny",
        "data": {"kind": "npz", "targets": ["energy", "forces"]},
        "training": {"max_minutes": 3.0, "force_loss": "norm"},
    }
    run = RunDirectory(folder)
    run.start(make_config(text))
    with run.metrics.open("w", newline="") as file:
        csv.writer(file).writerows([["epoch", "step"], [0, 10], [1, 20]])
    return run


def test_the_card_is_whole_and_can_be_printed(model, loaded, tmp_path, capsys):
    atoms = tmp_path / "atoms.json"
    atoms.write_text(json.dumps({"H": -13.6, "C": -1029.0, "O": -2041.5, "I": -8000.0}))
    model = bundle.identified(model, "small-one", atoms)
    card = bundle.make_card(model, written_run(tmp_path / "run"), loaded, None)
    assert card["charges"] == "-1 to +0"
    assert card["isolated atoms (eV)"] == {"H": -13.6, "C": -1029.0, "O": -2041.5}
    assert card["data"]["molecules and complexes"] == {"train": 2, "valid": 1, "test": 3}
    assert card["data"]["frames"]["dropped, spread"] == 4
    assert card["training"] == {
        "config": "tiny", "epochs done": 2, "max_minutes": 3.0, "force_loss": "norm",
    }  # fmt: skip
    assert card["errors on held-out constitutions"]["all"]["frames"] == 3
    assert card["doubt on held-out constitutions"]["forces_std"]["errors"] == 13
    known = card["reference energies, reactions"]
    assert known["s66"]["reactions"] + known["s66"]["refused"] == 66
    folder = tmp_path / "models"
    output.write(model, card, folder, "small-one", bundle.MOST_BYTES)
    capsys.readouterr()
    text = (folder / "small-one.json").read_text(encoding="utf-8")
    assert json.loads(text) == json.loads(json.dumps(card))
    _print_card(json.loads(text))
    printed = capsys.readouterr().out
    assert "force MAE" in printed
    assert "{" not in printed
    bundled = load(folder / "small-one.safetensors")
    assert bundled.dtype == torch.float32
    assert bundled.metadata.name == "small-one"
    assert bundled.metadata.isolated_atom_energies["O"] == -2041.5


def test_suites_are_told_apart_and_refusals_counted(model, tmp_path):
    found = errors.suite_errors(model, suite(tmp_path / "suites"))
    assert found["conformers"] == {}
    row = found["reactions"]["reactions"]
    assert (row["reactions"], row["refused"]) == (1, 1)
    assert row["worst"].startswith("oxidation ")
    assert row["MAE (kcal/mol)"] == abs(row["mean signed"])


def test_what_does_not_fit_is_refused(model, loaded, tmp_path):
    other = {**loaded.splits, "train": torch.tensor([0])}
    with pytest.raises(UserError, match=r"saw 2 training structures, this set has 1; give the set"):
        bundle.counts_of(LabelledSet(loaded.frames, None, other, notes=loaded.notes), model)
    save_npz(loaded.frames, tmp_path / "bare.npz", splits=loaded.splits)
    with pytest.raises(UserError, match="the set has no counts"):
        bundle.counts_of(load_npz(tmp_path / "bare.npz"), model)
    (tmp_path / "atoms.json").write_text('{"H": -13.6}')
    with pytest.raises(UserError, match=r"has no energy of C, O; run `teacher.py atoms`"):
        bundle.identified(model, "x", tmp_path / "atoms.json")
    begun = dataclasses.replace(model.metadata.training, init="there/m.safetensors")
    model.metadata = dataclasses.replace(model.metadata, training=begun)
    with pytest.raises(UserError, match="began from there/m.safetensors; say what that was by --b"):
        bundle.identified(model, "x", None)
    told = bundle.identified(model, "x", None, "18 epochs elsewhere").metadata.training
    assert told.init == "18 epochs elsewhere"
    with pytest.raises(UserError, match="more than 100; train a smaller one"):
        output.write(model, {}, tmp_path / "models", "x", 100)
    assert not list((tmp_path / "models").iterdir())
