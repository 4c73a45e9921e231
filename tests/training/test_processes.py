"""A run that is killed, and a run on two processes: both end where the plain one does."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from pytorch_lightning import Callback

from molequi.datasets.npz import save_npz
from molequi.errors import RunInterruptedError
from molequi.experiments import fit
from molequi.models.checkpoint import load_model
from molequi.settings import dump_settings
from molequi.training.config import load_config
from molequi.training.fit import fit_frames
from molequi.training.metrics_file import read_metrics
from molequi.training.optimizers.registry import OPTIMIZERS
from molequi.training.state import read_state

KILLED = """
import os, signal, sys
from pathlib import Path
from pytorch_lightning import Callback
from molequi.training.config import load_config
from molequi.experiments import fit

class Kill(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.position.step == 8:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    fit(load_config(sys.argv[1]), Path(sys.argv[2]), callbacks=[Kill()])
"""

# What an optimiser keeps is saved and loaded in `test_fit` and `optimizers/`, in this process; that
# of SOAP is the most.
MOST_STATE = [
    name if name == "soap" else pytest.param(name, marks=pytest.mark.long) for name in OPTIMIZERS
]


@pytest.mark.parametrize("optimizer", MOST_STATE)
def test_kill_in_mid_epoch_and_resume_gives_the_weights_of_an_uninterrupted_run(
    optimizer, tmp_path, toy_frames, toy_config, toy_splits
):
    save_npz(toy_frames(22), tmp_path / "toy.npz", splits=toy_splits(16, 3, 3))
    config = toy_config(
        data={
            "path": str(tmp_path / "toy.npz"),
            "targets": ["energy", "forces", "dipole"],
            "split": {"kind": "stored"},
        },
        training={
            "epochs": 4,
            "batch_size": 3,
            "optimizer": optimizer,
            "checkpoint_steps": 1,
            "ema": 0.9,
        },
    )
    (tmp_path / "toy.yaml").write_text(dump_settings(config), encoding="utf-8")
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
    assert [line["score"] for line in read_metrics(whole / "metrics.csv")] == [
        line["score"] for line in read_metrics(cut / "metrics.csv")
    ]
    assert (whole / "result.json").read_bytes() == (cut / "result.json").read_bytes()


@pytest.fixture
def no_sigterm():
    """Keep a late SIGTERM from ending the tests."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


def stop_when_saved(path) -> threading.Thread:
    """Send this process a SIGTERM as soon as `path` is there."""

    def wait() -> None:
        for _ in range(60_000):
            if path.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.005)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.usefixtures("no_sigterm")
@pytest.mark.parametrize("optimizer", MOST_STATE)
def test_two_processes_take_the_steps_of_one_even_when_stopped_and_resumed(
    optimizer, tmp_path, toy_frames, toy_config, toy_splits, capfd
):
    frames, splits = toy_frames(27), toy_splits(17, 7, 3)
    # Molecules of unequal size, gaps that leave one process without a label, and a last batch of
    # one structure.
    frames.targets["energy"][::2] = math.nan
    frames.targets["forces"][10:25] = math.nan
    frames.targets["dipole"][3:] = math.nan
    targets, training = (
        {"targets": ["energy", "forces", "dipole"]},
        {"epochs": 5, "optimizer": optimizer, "dtype": "float64", "patience": 50},
    )
    one = fit_frames(toy_config(data=targets, training=training), frames, splits, tmp_path / "one")
    config = toy_config(data=targets, training={**training, "devices": 2})
    thread = stop_when_saved(tmp_path / "two" / "last.ckpt")
    with pytest.raises(RunInterruptedError, match="SIGTERM"):
        fit_frames(config, frames, splits, tmp_path / "two")
    thread.join()
    assert read_state(tmp_path / "two" / "last.ckpt")["position"]["epoch"] < 5
    two = fit_frames(config, frames, splits, tmp_path / "two", resume=True)
    # Of the processes too, to which no filter of this one reaches.
    said = capfd.readouterr()
    for notes in ("Warning", "deprecated", "GLOBAL_RANK", "[rank", "distributed"):
        assert notes not in said.err + said.out, said
    first, second = (load_model(run / "model.safetensors").state_dict() for run in (one, two))
    for name, value in first.items():
        assert torch.allclose(value, second[name], rtol=1e-6, atol=1e-7), name
    lines = [read_metrics(run / "metrics.csv") for run in (one, two)]
    assert len(lines[0]) == len(lines[1]) == 5
    for line, other in zip(*lines, strict=True):
        known = {
            name: value for name, value in line.items() if name != "seconds" and value is not None
        }
        assert known == pytest.approx({name: other[name] for name in known}, rel=1e-6, abs=1e-9)


class Killed(Callback):
    """Ends the second process as a system without memory does."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.global_rank == 1 and pl_module.position.epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class DiskFull(Callback):
    """Finds no room, in the first process."""

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.is_global_zero:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/last.ckpt")


@pytest.mark.slow
def test_a_process_that_is_killed_is_a_run_that_goes_on(
    tmp_path, toy_frames, toy_config, toy_splits, capfd
):
    config = toy_config(training={"devices": 2, "epochs": 3})
    frames, splits = toy_frames(12), toy_splits(8, 2, 2)
    with pytest.raises(RunInterruptedError, match="killed, often for want of memory; .*--resume"):
        fit_frames(config, frames, splits, tmp_path / "run", callbacks=[Killed()])
    assert "Terminating process" not in capfd.readouterr().err
    assert read_state(tmp_path / "run" / "last.ckpt")["position"]["epoch"] == 1
    fit_frames(config, frames, splits, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.slow
def test_a_full_disk_is_what_it_is_in_one_process(tmp_path, toy_frames, toy_config, toy_splits):
    config = toy_config(training={"devices": 2})
    with pytest.raises(OSError, match=r"No space left on device: 'run/last\.ckpt'"):
        fit_frames(
            config, toy_frames(12), toy_splits(8, 2, 2), tmp_path / "run", callbacks=[DiskFull()]
        )
