"""`molequi train` and `molequi evaluate`, from a small set to a model in use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from molequi.cli.main import run

CONFIG = """
name: small
data:
  {kind: frames, path: samples/ethanol.extxyz.gz, targets: [energy, forces], limit: 40,
   split: {train: 24, valid: 8, test: 8}}
model: {preset: small, n_channels: 4, l_max: 1, n_layers: 1}
training: {epochs: 2, batch_size: 8, warmup_steps: 0}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run_directory(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert run(["train", str(config), "--output", str(folder), "--seed", "3"]) == 0
    return folder


@pytest.fixture(scope="module", autouse=True)
def figures(run_directory, undrawn):
    """Draw the figures of the run that the tests share, and no others."""


def test_run_directory_is_complete(run_directory):
    names = {path.name for path in run_directory.iterdir()}
    assert names >= {
        "config.yaml",
        "split.json",
        "model.safetensors",
        "last.ckpt",
        "metrics.csv",
        "log.txt",
        "result.json",
        "plots",
    }
    assert "test_predictions.npz" in names
    assert "seed: 3" in (run_directory / "config.yaml").read_text()
    assert {path.suffix for path in (run_directory / "plots").iterdir()} == {".png"}


def test_train_prints_epochs_and_the_errors_with_units(molequi, config, tmp_path):
    result = molequi(
        "train", config, "training.epochs=1", "--output", tmp_path / "run", "--batch-size", "12"
    )
    assert result.code == 0
    assert all(text in result.out for text in ("forces", "eV/Å", "baseline MAE", "energy_per_atom"))
    assert (result.err + result.out).lower().count("worse than the baseline") == 1
    assert all(
        text in result.err for text in ("epoch 1", "eV/Å", "energy  energy", str(tmp_path / "run"))
    ), result.err
    assert "batch_size: 12" in (tmp_path / "run" / "config.yaml").read_text()


def test_train_prints_what_dynamics_learned(molequi, tmp_path):
    few = (
        "data.n_particles=2",
        "data.train=8",
        "data.valid=4",
        "data.test=4",
        "data.rollouts=2",
        "data.n_steps=101",
    )
    command = (
        "train",
        "spring",
        *few,
        "model.kind=fc",
        "model.width=4",
        "training.epochs=1",
        "--output",
        tmp_path / "run",
    )
    result = molequi(*command)
    assert result.code == 0, result.err
    assert all(
        text in result.out
        for text in ("Learned dynamics", "rollout energy error", "angular momentum change")
    )
    assert "epoch 1" in result.err
    assert "--overwrite" in molequi(*command).err
    document = json.loads(molequi(*command, "--overwrite", "--json").out)
    assert document["test_mse"]["unit"] == "1"


def test_dry_run_says_what_would_be_done_and_writes_nothing(molequi, config, tmp_path):
    run = tmp_path / "run"
    result = molequi("train", config, "--output", run, "--dry-run")
    assert result.code == 0, result.err
    assert all(
        text in result.out
        for text in ("ethanol.extxyz.gz", "train 24, valid 8, test 8", "energy (eV) from 24",
                     "epochs: 2 at most, steps in each: 3", "cutoff 5 Å", str(run))
    ), result.out  # fmt: skip
    plan = json.loads(molequi("train", config, "--output", run, "--dry-run", "--json").out)
    assert plan["structures"] == {"train": 24, "valid": 8, "test": 8}
    assert (plan["elements"], plan["atoms"]) == (["H", "C", "O"], [9, 9])
    assert not run.exists()
    refused = molequi("train", config, "data.split.valid=4000", "--output", run, "--dry-run")
    assert refused.code == 2


def test_dry_run_counts_the_weights_that_a_run_trains(molequi, config, run_directory, tmp_path):
    plan = json.loads(molequi("train", config, "-o", tmp_path / "x", "--dry-run", "--json").out)
    assert f"{plan['weights']} trainable weights" in (run_directory / "log.txt").read_text()


def test_a_run_goes_on_without_its_config(molequi, run_directory, tmp_path):
    result = molequi("train", "--resume", "--output", run_directory)
    assert result.code == 0, result.err
    assert "Errors on the test set" in result.out
    other = molequi("train", "--resume", "--output", run_directory, "training.learning_rate=1")
    assert (other.code, "training.learning_rate was" in other.err) == (2, True)
    missing = molequi("train", "--resume", "--output", tmp_path)
    assert (missing.code, "holds no run" in missing.err) == (2, True)
    assert "CONFIG is missing" in molequi("train", "--resume").err


def test_evaluate_repeats_the_result_of_the_run(molequi, run_directory):
    result = molequi("evaluate", run_directory, "--split", "test", "--json")
    assert result.code == 0, result.err
    document, saved = (
        json.loads(result.out),
        json.loads((run_directory / "result.json").read_text()),
    )
    assert set(document) == {"energy", "energy_per_atom", "forces"}
    assert set(document["forces"]) == {"mae", "rmse", "max", "r2", "unit", "count", "baseline_mae"}
    assert document["forces"]["mae"] == pytest.approx(saved["forces"]["mae"], rel=1e-6)
    table = molequi("evaluate", run_directory, "--split", "test")
    assert all(text in table.out for text in ("forces", "eV/Å", "R²"))


def test_trained_model_predicts_by_its_directory(molequi, run_directory):
    (record,) = json.loads(
        molequi("predict", "--smiles", "CCO", "--model", run_directory, "--json").out
    )
    assert record["model"] == "small"


def test_evaluate_without_data_or_with_unknown_split(molequi, run_directory, tiny_model):
    assert "give a labelled file" in molequi("evaluate", tiny_model).err
    result = molequi("evaluate", run_directory, "--split", "tset")
    assert result.code == 2
    assert "'tset'" in result.err


def test_occupied_output_is_left_alone(molequi, config, run_directory):
    before = (run_directory / "model.safetensors").read_bytes()
    result = molequi("train", config, "--output", run_directory)
    assert result.code == 2
    assert "--overwrite" in result.err
    assert (run_directory / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("trainin.epochs=3", "training"),
        ("training.epoch=3", "epochs"),
        ("training.epochs=-3", "epochs"),
        ("epochs", "key=value"),
        ("data.targets=dipole", "dipole"),
        ("data.targets=energie", "energy"),
        ("data.path=nosuch.xyz", "nosuch.xyz"),
    ],
)
def test_wrong_setting_is_one_line(molequi, config, tmp_path, setting, expected):
    result = molequi("train", config, setting, "--output", tmp_path / "run")
    assert result.code == 2
    assert expected in result.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("number", "code", "setting"),
    [
        (signal.SIGINT, 130, "training.workers=0"),
        (signal.SIGTERM, 75, "training.workers=1"),
        pytest.param(signal.SIGINT, 130, "training.devices=2", marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_the_run_and_resume_finishes_it(config, tmp_path, number, code, setting):
    """As from a terminal: Ctrl-C reaches every process of the run at once."""
    folder = tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "molequi.cli",
        "train",
        str(config),
        "training.epochs=100000",
        setting,
        "--output",
        str(folder),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while (
        not (folder / "last.ckpt").exists()
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.2)
    os.killpg(process.pid, number)
    _, text = process.communicate(timeout=120)
    assert process.returncode == code, text
    assert "Traceback" not in text
    assert f"stopped by {number.name}" in text.splitlines()[-1]
    assert "--resume" in text.splitlines()[-1]
    epochs = len((folder / "metrics.csv").read_text().splitlines()) - 1
    assert (
        run(
            [
                "train",
                str(config),
                f"training.epochs={epochs + 2}",
                "--output",
                str(folder),
                "--resume",
            ]
        )
        == 0
    )
    assert len((folder / "metrics.csv").read_text().splitlines()) - 1 == epochs + 2
