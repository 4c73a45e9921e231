"""LieConv on the command line.

It trains, predicts and is checked as any backbone, and moves atoms only where it has forces.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from molequi.cli.main import run
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata

CONFIG = """
name: lie
data:
  {kind: frames, path: samples/ethanol.extxyz.gz, targets: [energy, forces], limit: 40,
   split: {train: 24, valid: 8, test: 8}}
model: {architecture: lieconv, group: T(3), n_channels: 8, n_hidden: 8, n_middle: 4, n_layers: 1}
training: {epochs: 2, batch_size: 8, warmup_steps: 0, ema: 0.0}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "lie.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose lifts are drawn in every call."""
    path = tmp_path_factory.mktemp("models") / "sampled.safetensors"
    save_model(
        make_model(
            (1, 6, 8),
            ["energy"],
            architecture="lieconv",
            group="SE(3)",
            n_channels=8,
            metadata=ModelMetadata(name="sampled"),
        ),
        path,
    )
    return path


def test_trains_on_forces_and_goes_on_where_it_was_stopped(molequi, config, tmp_path):
    parts, straight = tmp_path / "parts", tmp_path / "straight"
    # The plateau schedule does not know how long a run will be.
    common = [str(config), "training.schedule=plateau"]
    assert run(["train", *common, "training.epochs=1", "--output", str(parts)]) == 0
    assert run(["train", *common, "training.epochs=2", "--output", str(parts), "--resume"]) == 0
    assert run(["train", *common, "training.epochs=2", "--output", str(straight)]) == 0
    result = json.loads((straight / "result.json").read_text())
    assert result["forces"]["count"] == 8 * 9 * 3
    # That much the forces of this network change when the molecule turns: it knows no rotations.
    assert result["forces"].pop("violation") > 1e-3
    result["energy"].pop("violation")
    assert json.loads(molequi("evaluate", straight, "--split", "test", "--json").out) == result
    # Running moments, momenta and random numbers are part of the state.
    states = [
        torch.load(folder / "last.ckpt", weights_only=True)["model"] for folder in (parts, straight)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(name.endswith("variance") for name in states[0])


def test_predicts_without_forces_where_there_are_none(molequi, sampled, water, tmp_path):
    result = molequi("predict", water, "--model", sampled, "--json")
    assert result.code == 0, result.err
    (record,) = json.loads(result.out)
    assert record["energy"] is not None
    assert record.get("forces") is None
    assert molequi("predict", water, "--model", sampled, "--output", tmp_path / "out.xyz").code == 0


@pytest.mark.parametrize("command", ["md", "relax", "vibrations"])
def test_moves_no_atoms_with_the_reason(molequi, sampled, water, command, tmp_path):
    result = molequi(command, water, "--model", sampled, "--output", tmp_path / "out.xyz")
    assert result.code == 2
    assert "no continuous forces: its lifts to SE(3) are drawn anew in every call" in result.err
    assert list(tmp_path.iterdir()) == [water]


def test_check_reports_what_holds(molequi, sampled):
    result = molequi("check", sampled, "--json")
    assert result.code == 1
    report = json.loads(result.out)
    assert not report["determinism"]["ok"]
    assert report["finite"]["ok"]
    assert "force_consistency" not in report


def test_fields_of_other_kinds_are_refused(molequi, config, tmp_path):
    result = molequi("train", config, "model.l_max=2", "--output", tmp_path / "run")
    assert result.code == 2
    assert "model.l_max has no meaning for model.architecture=lieconv" in result.err
