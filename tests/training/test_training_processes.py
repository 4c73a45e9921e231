"""A run that is killed, and a run on two processes: both end where the plain one does."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys

import pytest
import torch

from molequi.checkpoint import load_model
from molequi.config import dump_config, load_config
from molequi.datasets.flat_file import save_npz
from molequi.training import fit
from molequi.training_fit import fit_frames
from molequi.training_log import read_metrics
from molequi.training_state import read_state

KILLED = """
import os, signal, sys
from pathlib import Path
from pytorch_lightning import Callback
from molequi.config import load_config
from molequi.training import fit

class Kill(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.position.step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    fit(load_config(sys.argv[1]), Path(sys.argv[2]), callbacks=[Kill()])
"""


def test_kill_in_mid_epoch_and_resume_gives_the_weights_of_an_uninterrupted_run(tmp_path, toy_frames, toy_config, toy_splits):
    save_npz(toy_frames(22), tmp_path / "toy.npz", splits=toy_splits(16, 3, 3))
    config = toy_config(
        data={"path": str(tmp_path / "toy.npz"), "targets": ["energy", "forces", "dipole"], "split": {"kind": "stored"}},
        training={"epochs": 4, "batch_size": 3, "checkpoint_steps": 1, "ema": 0.9},
    )
    (tmp_path / "toy.yaml").write_text(dump_config(config), encoding="utf-8")
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "toy.yaml"), str(tmp_path / "cut")]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    position = read_state(tmp_path / "cut" / "last.ckpt")["position"]
    assert (position["epoch"], position["batch"]) == (1, 2)
    whole = fit(load_config(tmp_path / "toy.yaml"), tmp_path / "whole")
    cut = fit(load_config(tmp_path / "toy.yaml"), tmp_path / "cut", resume=True)
    first, second = (load_model(run / "model.safetensors").state_dict() for run in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [line["score"] for line in read_metrics(whole / "metrics.csv")] == [line["score"] for line in read_metrics(cut / "metrics.csv")]
    assert (whole / "result.json").read_bytes() == (cut / "result.json").read_bytes()


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(tmp_path, toy_frames, toy_config, toy_splits):
    frames, splits = toy_frames(27), toy_splits(17, 7, 3)
    # Molecules of unequal size, gaps that leave one process without a label, and a last batch of one structure.
    frames.targets["energy"][::2] = math.nan
    frames.targets["forces"][10:25] = math.nan
    frames.targets["dipole"][3:] = math.nan
    runs = {}
    for name, devices in (("one", 1), ("two", 2)):
        config = toy_config(
            data={"targets": ["energy", "forces", "dipole"]}, training={"epochs": 3, "dtype": "float64", "devices": devices, "patience": 50}
        )
        runs[name] = fit_frames(config, frames, splits, tmp_path / name)
    one, two = (load_model(run / "model.safetensors").state_dict() for run in runs.values())
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=1e-8, atol=1e-9), name
    first, second = (read_metrics(run / "metrics.csv") for run in runs.values())
    assert len(first) == len(second) == 3
    for line, other in zip(first, second, strict=True):
        known = {name: value for name, value in line.items() if name != "seconds" and value is not None}
        assert known == pytest.approx({name: other[name] for name in known}, rel=1e-6, abs=1e-9)
