"""The recipe that turns a run into the bundled `chiroptical` model and its card."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from molequi.datasets.npz import load_npz
from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.zoo import load

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "samples" / "rosenfeld_sample.npz"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    if not (ROOT / "data" / "recipes").exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(ROOT / "data" / "recipes"))
    try:
        import bundle_chiroptical
    finally:
        sys.path.pop(0)
    return bundle_chiroptical


@pytest.fixture(scope="module")
def loaded():
    return load_npz(SAMPLE)


@pytest.fixture(scope="module")
def model(loaded):
    training = TrainingRecord(n_structures=len(loaded.splits["train"]))
    metadata = ModelMetadata(name="x", level={"rosenfeld": "HF/6-31G"}, training=training)
    return make_model(
        loaded.frames.elements(),
        ["rosenfeld"],
        n_channels=4,
        n_layers=3,
        parity="full",
        metadata=metadata,
    )


@pytest.fixture
def reserved(tmp_path):
    path = tmp_path / "reserved.txt"
    path.write_text("C#CC#CC#CC1CO1\n")
    return path


def test_card_counts_and_measures(recipe, loaded, model, reserved, tmp_path):
    card = recipe.make_card(model, loaded, reserved, "chiroptical")
    assert card["reserved constitutions in the data"] == 0
    assert card["data"]["train"]["structures"] == len(loaded.splits["train"])
    errors = card["errors on the test part"]
    assert errors["structures, both hands"] == 2 * len(loaded.splits["test"])
    assert {"R² of rosenfeld[0o]", "R² of rosenfeld[1o]", "R² of rosenfeld[2o]"} <= set(errors)
    assert errors["mirror violation over the spread"] < 1e-5
    recipe.write(model, card, tmp_path / "models", "chiroptical", recipe.MAX_BYTES)
    assert json.loads(
        (tmp_path / "models" / "chiroptical.json").read_text(encoding="utf-8")
    ) == json.loads(json.dumps(card))
    assert load(tmp_path / "models" / "chiroptical.safetensors").outputs == model.outputs


def test_a_perfect_model_has_perfect_scores(recipe, loaded, monkeypatch):
    test = loaded.frames.subset(loaded.splits["test"])

    def exact(_, frames, names):
        sign = 1.0 if torch.equal(frames.positions, test.positions) else -1.0
        return {"rosenfeld": sign * frames.targets["rosenfeld"]}

    monkeypatch.setattr(recipe, "predict_frames", exact)
    errors = recipe.scores(None, test)
    assert errors["R² of rosenfeld_isotropic"] == 1.0
    assert errors["R² of rosenfeld_isotropic, 95 % interval"] == [1.0, 1.0]
    assert errors["sign right, 95 % interval (%)"] == [100.0, 100.0]
    assert errors["sign right where |rosenfeld_isotropic| > 0.05 bohr⁴ (%)"] == 100.0
    assert errors["mirror violation over the spread"] == 0.0


def test_reserved_or_shared_constitutions_are_refused(recipe, loaded, model, reserved):
    reserved.write_text(loaded.groups[0] + "\n")
    with pytest.raises(UserError, match="1 constitutions of the set stand in reserved.txt"):
        recipe.make_card(model, loaded, reserved, "x")
    assert (
        recipe.overlap(
            ["C[C@H]1CO1"], SimpleNamespace(read_text=lambda encoding: "CC1CO1\nCC\n", name="r")
        )
        == 1
    )
    reserved.write_text("\n")
    with pytest.raises(UserError, match="lists no SMILES"):
        recipe.make_card(model, loaded, reserved, "x")
    mixed = {**loaded.splits, "test": loaded.splits["train"][:3]}
    with pytest.raises(UserError, match="stand in training and test"):
        recipe.make_card(model, dataclasses.replace(loaded, splits=mixed), reserved, "x")


def test_another_training_set_is_refused(recipe, loaded, model, reserved):
    splits = {**loaded.splits, "train": loaded.splits["train"][1:]}
    with pytest.raises(UserError, match="give the set that the run was trained on"):
        recipe.make_card(model, dataclasses.replace(loaded, splits=splits), reserved, "x")


def test_where_hf_fails_names_real_molecules(recipe):
    from rdkit import Chem

    from molequi.structures.cip import label_molecule

    for entry, centres in zip(recipe.WHERE_HF_FAILS, (["R", "R"], ["S", "S"]), strict=True):
        labels = label_molecule(Chem.MolFromSmiles(entry["smiles"]))
        assert [label for label in labels.atoms if label] == centres
