"""Evaluation: every component counted, beside a baseline that knows the training set alone."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import write
from ase.units import Debye

from molequi import train
from molequi.datasets.load import load_dataset
from molequi.datasets.making import make_frames
from molequi.datasets.npz import save_npz
from molequi.errors import UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit
from molequi.models.checkpoint import load_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata, TrainingRecord
from molequi.models.physics import Physics
from molequi.properties import PROPERTIES, declare
from molequi.training.baseline import fit_baseline
from molequi.training.config import load_config
from molequi.training.evaluation import evaluate_frames, save_predictions
from molequi.training.predictions import predict_frames, without_undefined


@pytest.fixture(scope="module")
def model():
    rows = [
        PROPERTIES["energy"],
        PROPERTIES["forces"],
        PROPERTIES["dipole"],
        declare("toxic", unit="1", binary=True),
    ]
    return make_model((1, 6, 8), rows, n_channels=4, n_layers=1, cutoff=4.0).eval()


def test_errors_are_those_of_the_predictions_whatever_the_batches(model, toy_frames):
    frames = toy_frames(7)
    frames.targets["forces"][4] = math.nan
    shown: list[tuple[int, int]] = []
    whole = evaluate_frames(model, frames)
    cut = evaluate_frames(
        model, frames, batch_size=2, progress=lambda done, total: shown.append((done, total))
    )
    assert shown == [(2, 7), (4, 7), (6, 7), (7, 7)]
    error = (whole.predictions["forces"] - frames.targets["forces"])[
        ~torch.isnan(frames.targets["forces"])
    ]
    assert whole.result["forces"]["mae"] == pytest.approx(float(error.abs().mean()), rel=1e-12)
    assert whole.result["forces"]["count"] == 3 * len(frames.positions) - 3
    assert (whole.result["forces"]["unit"], whole.result["energy_per_atom"]["unit"]) == (
        "eV/Å",
        "eV/atom",
    )
    for name, row in whole.result.items():
        numbers = {key: value for key, value in row.items() if isinstance(value, int | float)}
        assert numbers == pytest.approx({key: cut.result[name][key] for key in numbers}, rel=1e-5)
    assert whole.result["energy"]["baseline_mae"] is None


def test_baseline_comes_from_the_training_set(model, toy_frames):
    train, test = toy_frames(30, seed=1), toy_frames(6, seed=2)
    known = {
        row.name: fit_baseline(train, row) for row in (PROPERTIES["energy"], PROPERTIES["dipole"])
    }
    before = model.metadata
    model.metadata = ModelMetadata(training=TrainingRecord(baseline=known))
    result = evaluate_frames(model, test).result
    model.metadata = before
    assert 0 < result["energy"]["baseline_mae"] < 1.0
    assert result["dipole"]["baseline_mae"] == pytest.approx(
        float(test.targets["dipole"].abs().mean())
    )
    assert result["forces"]["baseline_mae"] is None


def test_yes_no_labels_are_compared_as_probabilities(model, toy_frames):
    frames = toy_frames(4)
    row = model.properties["toxic"]
    labels = torch.tensor([1.0, 0.0, 1.0, math.nan], dtype=torch.float64)
    frames = dataclasses.replace(frames, targets={"toxic": labels}, properties={"toxic": row})
    evaluation = evaluate_frames(model, frames)
    expected = (evaluation.predictions["toxic"].sigmoid() - labels)[:3].abs().mean()
    assert evaluation.result["toxic"]["mae"] == pytest.approx(float(expected))
    assert evaluation.result["toxic"]["max"] <= 1.0
    is_right = (evaluation.predictions["toxic"] > 0) == (labels > 0.5)
    assert evaluation.result["toxic"]["accuracy"] == pytest.approx(
        float(is_right[:3].double().mean())
    )
    nothing = dataclasses.replace(frames, targets={"toxic": torch.full((4,), torch.nan)})
    assert evaluate_frames(model, nothing).result["toxic"]["accuracy"] is None


def test_an_even_chance_counts_half_and_is_the_baseline_of_handed_labels(toy_frames):
    """Natural-parity features give no handedness: a logit of zero decides nothing."""
    row = declare("hand", irreps="0o", unit="1", per_atom=True, binary=True)
    frames = toy_frames(2)
    labels = torch.arange(len(frames.positions), dtype=torch.float64) % 2
    frames = dataclasses.replace(frames, targets={"hand": labels}, properties={"hand": row})
    model = make_model((1, 6, 8), [row], n_channels=4, n_layers=3, parity="full")
    with torch.no_grad():
        for weight in model.heads["hand"].parameters():
            weight.zero_()
    baseline = {"hand": fit_baseline(frames, row)}
    model.metadata = ModelMetadata(training=TrainingRecord(baseline=baseline))
    result = evaluate_frames(model, frames).result["hand"]
    assert (result["accuracy"], result["mae"], result["baseline_mae"]) == (0.5, 0.5, 0.5)


def test_parts_of_a_tensor_stand_beside_it(toy_frames):
    """Sums of squares of the parts add up to that of the tensor."""
    frames = toy_frames(5)
    tensor = torch.randn(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    frames = dataclasses.replace(
        frames, targets={"rosenfeld": tensor}, properties={"rosenfeld": PROPERTIES["rosenfeld"]}
    )
    model = make_model((1, 6, 8), ["rosenfeld"], n_channels=4, n_layers=3, parity="full")
    result = evaluate_frames(model, frames).result
    parts = [result[f"rosenfeld[{irrep}]"] for irrep in ("0o", "1o", "2o")]
    assert [part["count"] for part in parts] == [5, 15, 25]
    assert all(part["unit"] == "bohr⁴" for part in parts)
    squares = sum(part["count"] * part["rmse"] ** 2 for part in parts)
    assert squares == pytest.approx(45 * result["rosenfeld"]["rmse"] ** 2)


def test_dipoles_of_periodic_systems_and_stress_of_slabs_are_left_out():
    pbc = torch.tensor([[False] * 3, [True, True, False], [True] * 3])
    targets = {
        "dipole": torch.ones(3, 3),
        "r2": torch.ones(3),
        "stress": torch.ones(3, 3, 3),
        "gap": torch.ones(3),
    }
    rows = {name: PROPERTIES[name] for name in targets}
    cells = 9.0 * torch.eye(3).expand(3, 3, 3)
    frames = without_undefined(
        make_frames(
            torch.zeros(3, 3),
            torch.ones(3),
            torch.ones(3),
            periodic=(cells, pbc),
            targets=targets,
            properties=rows,
        )
    )
    assert torch.isnan(frames.targets["dipole"]).any(dim=1).tolist() == [False, True, True]
    assert torch.isnan(frames.targets["r2"]).tolist() == [False, True, True]
    assert torch.isnan(frames.targets["stress"]).any(dim=2).any(dim=1).tolist() == [
        True,
        True,
        False,
    ]
    assert not torch.isnan(frames.targets["gap"]).any()


def test_stress_of_a_crystal_is_evaluated(model):
    cells = 3.0 * torch.eye(3).expand(2, 3, 3) + 0.1
    targets = {"stress": torch.zeros(2, 3, 3), "energy": torch.zeros(2)}
    frames = make_frames(
        torch.rand(4, 3, generator=torch.Generator().manual_seed(0)) * 2,
        torch.tensor([6, 1, 6, 1]), torch.tensor([2, 2]),
        periodic=(cells, torch.ones(2, 3, dtype=torch.bool)), targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
    )  # fmt: skip
    result = evaluate_frames(model, frames).result
    assert result["stress"]["count"] == 18
    assert result["stress"]["mae"] > 0


def test_nothing_in_common_is_refused(model, toy_frames):
    gap = dataclasses.replace(
        toy_frames(3), targets={"gap": torch.ones(3)}, properties={"gap": PROPERTIES["gap"]}
    )
    with pytest.raises(UserError, match="the data have gap, the model gives energy"):
        evaluate_frames(model, gap)
    with pytest.raises(UserError, match="asked for gap"):
        evaluate_frames(model, toy_frames(3), names=["energy", "gap"])
    with pytest.raises(UserError, match="evaluate got no data"):
        evaluate(model)


def test_arguments_of_another_kind_are_named(model, toy_frames):
    with pytest.raises(UserError, match="batch_size is 0; it must be a whole number from 1"):
        evaluate(model, toy_frames(1), batch_size=0)
    for other in (None, model.freeze()):
        with pytest.raises(UserError, match=f"model is of type {type(other).__name__}; give a bu"):
            evaluate(other, toy_frames(1))
    with pytest.raises(UserError, match="the data are of type Atoms; give a labelled file"):
        evaluate(model, Atoms("H"))


def test_files_with_and_without_splits(tmp_path, model, toy_frames, toy_splits):
    save_npz(toy_frames(10), tmp_path / "toy.npz", splits=toy_splits(6, 2, 2))
    assert evaluate(model, tmp_path / "toy.npz")["dipole"]["count"] == 30
    assert evaluate(model, tmp_path / "toy.npz", split="test")["dipole"]["count"] == 6
    with pytest.raises(UserError, match="split 'tset' is not known"):
        evaluate(model, tmp_path / "toy.npz", split="tset")


def test_saved_predictions_are_plain_arrays_beside_their_references(tmp_path, model, toy_frames):
    evaluation = evaluate_frames(model, toy_frames(4), names=["dipole"])
    save_predictions(evaluation, tmp_path / "test_predictions.npz")
    with np.load(tmp_path / "test_predictions.npz", allow_pickle=False) as arrays:
        assert set(arrays.files) == {
            "n_atoms", "atomic_numbers", "positions", "dipole", "dipole_predicted"
        }  # fmt: skip
        positions = evaluation.frames.positions.numpy()
        np.testing.assert_allclose(arrays["positions"], positions, rtol=1e-6, atol=1e-7)
        assert np.array_equal(arrays["dipole_predicted"], evaluation.predictions["dipole"].numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["test_predictions.npz"]


def test_no_structures_give_empty_predictions(model, toy_frames):
    nothing = toy_frames(3).subset(torch.zeros(0, dtype=torch.int64))
    assert predict_frames(model, nothing, ["forces"])["forces"].shape == (0, 3)


def test_evaluation_refuses_elements_that_the_model_does_not_know(toy_frames):
    model = make_model([1, 6], ["energy"], n_channels=4)
    with pytest.raises(UserError, match="contain O, which this model does not know; it knows H C"):
        evaluate_frames(model, toy_frames(6))


def test_evaluation_names_the_slab_that_a_model_of_long_range_does_not_take(toy_frames):
    model = make_model(
        [1, 6, 8], ["energy"], n_channels=4, physics=Physics("equilibrated", "damped")
    )
    frames = toy_frames(6)
    pbc = torch.zeros(6, 3, dtype=torch.bool)
    pbc[4, :2] = True
    with pytest.raises(UserError, match=r"pbc of structure 4 is \[True, True, False\]"):
        evaluate_frames(model, dataclasses.replace(frames, pbc=pbc))


def test_files_have_the_names_and_units_of_the_run(tmp_path, toy_frames, toy_config):
    """Beside mu in D stands a column called dipole that is none of the run's business."""
    paths = [tmp_path / "learned.xyz", tmp_path / "new.xyz"]
    parts = [toy_frames(24), toy_frames(9, seed=1)]
    for path, frames in zip(paths, parts, strict=True):
        structures = []
        for k in range(len(frames)):
            part = frames.subset(torch.tensor([k]))
            atoms = Atoms(part.atomic_numbers.numpy(), part.positions.numpy())
            mu = part.targets["dipole"][0].numpy() / Debye
            atoms.info = {"energy": float(part.targets["energy"][0]), "mu": mu, "dipole": 0.0 * mu}
            structures.append(atoms)
        write(path, structures, format="extxyz")
    data = {
        "kind": "frames", "path": str(paths[0]), "targets": ["energy", "dipole"],
        "keys": {"dipole": "mu"}, "units": {"dipole": "D"},
    }  # fmt: skip
    run = fit(toy_config(data=data, training={"weights": {"dipole": 1.0}}), tmp_path / "run")
    found = evaluate(run, paths[1])["dipole"]
    expected = evaluate(load_model(run / "model.safetensors"), parts[1])["dipole"]
    assert found["mae"] == pytest.approx(expected["mae"], rel=1e-5)
    zeros = dataclasses.replace(parts[1], targets={"dipole": 0.0 * parts[1].targets["dipole"]},
                                properties={"dipole": PROPERTIES["dipole"]})  # fmt: skip
    assert found["mae"] != pytest.approx(evaluate(run, zeros)["dipole"]["mae"], rel=1e-3)
    # A file without that name is read by the names that everybody knows.
    plain = tmp_path / "plain.xyz"
    plain.write_text(
        paths[1].read_text(encoding="utf-8").replace("mu=", "moment="), encoding="utf-8"
    )
    assert evaluate(run, plain)["dipole"]["mae"] == pytest.approx(
        evaluate(run, zeros)["dipole"]["mae"], rel=1e-5
    )


@pytest.fixture(scope="module")
def table_run(tmp_path_factory):
    """A run on the second column of SMILES of a table, and on a part of its lines."""
    folder = tmp_path_factory.mktemp("table")
    chains = ["C" * n + "O" for n in range(1, 13)]
    lines = [f"N,{smiles},{len(smiles)}" for smiles in chains]
    (folder / "a.csv").write_text("smiles,product,y\n" + "\n".join(lines) + "\n")
    asked = [
        f"data.path={folder / 'a.csv'}", "data.targets=y", "data.smiles=product", "data.seed=3",
        "data.limit=8", "data.split={train: 4, valid: 2, test: 2}", "model.preset=light",
        "training.epochs=1",
    ]  # fmt: skip
    train("property", asked, output=folder / "run")
    return folder


def test_a_run_divides_its_own_file_as_it_did(table_run, tmp_path):
    """It took eight lines of twelve, whose numbers the split counts."""
    run, own = table_run / "run", table_run / "a.csv"
    results = [evaluate(run, data, split="test") for data in (None, own)]
    assert results[0]["y"]["mae"] == pytest.approx(results[1]["y"]["mae"])
    other = tmp_path / "b.csv"
    other.write_text(own.read_text())
    with pytest.raises(UserError, match="whose split is of the data that it was trained on"):
        evaluate(run, other, split="test")


def test_a_file_beside_is_read_as_the_run_reads_its_own(table_run, tmp_path):
    """The column with SMILES, and the seed of the conformers."""
    run = table_run / "run"
    chosen = json.loads((run / "split.json").read_text())
    config = load_config(run / "config.yaml")
    whole = load_dataset(config.data, config.declared())
    rows = [line.rpartition(":")[2] for line in whole.frames.source]
    lines = (table_run / "a.csv").read_text().splitlines()
    tested = [lines[int(rows[number]) - 1] for number in chosen["test"]]
    (tmp_path / "b.csv").write_text("\n".join([lines[0], *tested]) + "\n")
    own, beside = evaluate(run, split="test"), evaluate(run, tmp_path / "b.csv")
    assert beside["y"]["mae"] == pytest.approx(own["y"]["mae"], rel=1e-5)
