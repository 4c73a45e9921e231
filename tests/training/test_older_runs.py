"""A run directory that molequi 0.1.0 wrote is resumed as if nothing had happened."""

import shutil
from pathlib import Path

import pytest
import torch

from molequi.evaluation import evaluate
from molequi.experiments import train
from molequi.models.checkpoint import load_model
from molequi.training.older_runs import present_settings

FILES = Path(__file__).parent / "files"
# What was given to 0.1.0, stopped by SIGINT in its second epoch; `whole_0.1.0.safetensors` came of
# the same run when it was left alone.
SETTINGS = (
    "data.path=samples/ethanol.extxyz.gz",
    "data.limit=30",
    *(f"data.split.{part}={n}" for part, n in (("train", 16), ("valid", 6), ("test", 6))),
    *("model.n_channels=4", "model.n_layers=1", "model.l_max=1", "model.n_hidden=4"),
    *("model.cutoff=3.0", "training.epochs=2", "training.batch_size=4"),
    *("training.kernels=reference", "training.device=cpu", "training.optimizer=adamw"),
    "training.second_stage.start=0.75",
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES / "run_0.1.0", tmp_path / "run"))


def test_a_run_goes_on_to_the_weights_that_the_whole_run_had(run: Path) -> None:
    train("extxyz", SETTINGS, run, resume=True)
    found = load_model(run / "model.safetensors").state_dict()
    expected = load_model(FILES / "whole_0.1.0.safetensors").state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def test_a_run_is_evaluated(run: Path) -> None:
    errors = evaluate(run, split="test")
    assert errors["forces"]["count"] == 6 * 9 * 3
    assert errors["forces"]["mae"] > 0.0


def test_settings_are_called_by_their_names_of_today() -> None:
    network = {"preset": "small", "kind": "tensors", "cutoff": 5.0}
    training = {"kernels": "unrolled", "ema": 0.99}
    assert present_settings({"model": network, "training": training}) == {
        "model": {"preset": "small", "architecture": "spherical", "cutoff": 5.0},
        "training": {"kernels": "specialized", "ema": 0.99, "optimizer": "adamw"},
    }
    for kind, sizes in (
        ("tensors", {"n_layers": 3, "n_channels": 16, "l_max": 2, "correlation": 1}),
        ("invariants", {"n_layers": 3, "n_channels": 16}),
    ):
        old = {"preset": "medium", "kind": kind, "cutoff": 5.0, "n_channels": 16, "n_layers": None}
        new = present_settings({"model": old, "training": {"ema": 0.99}})["model"]
        named = {"architecture": "spherical" if kind == "tensors" else kind, "cutoff": 5.0}
        assert new == {"preset": "small", **named, **sizes}
    dynamics = {"kind": "tensors", "width": 4, "backbone": {"kind": None, "cutoff": 4.0}}
    assert present_settings({"model": dynamics})["model"] == {
        "kind": "spherical",
        "width": 4,
        "backbone": {"architecture": None, "cutoff": 4.0},
    }
    now = {
        "model": {"architecture": "lieconv", "cutoff": None},
        "training": {"kernels": "auto", "ema": 0.99, "optimizer": "soap"},
    }
    assert present_settings(now) == now


def test_models_of_springs_name_their_group() -> None:
    old = {"model": {"kind": "hlieconv-so2-centred", "width": 8}}
    new = {"kind": "hlieconv", "group": "SO(2)", "centred": True, "width": 8}
    assert present_settings(old) == {"model": new}
