"""The file that a run resumes from."""

from __future__ import annotations

import pickle

import pytest
import torch

from molequi.errors import RunInterruptedError, UserError
from molequi.training.state import read_state, write_state


def test_state_file_holds_plain_data_and_opens_without_pickle(tmp_path):
    path = tmp_path / "last.ckpt"
    write_state(
        {
            "model": {"w": torch.arange(3.0)},
            "position": {"epoch": 2, "seconds": 1.5},
            "stop_reason": "",
        },
        path,
    )
    assert torch.load(path, weights_only=True)["position"] == {"epoch": 2, "seconds": 1.5}
    assert torch.equal(read_state(path)["model"]["w"], torch.arange(3.0))
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def test_bad_state_files_are_refused(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises(UserError, match="without --resume"):
        read_state(path)
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match="cannot be read"):
        read_state(path)
    torch.save({"format": 99}, path)
    with pytest.raises(UserError, match="format 99"):
        read_state(path)
    write_state({"history": []}, path, version=1)
    assert read_state(path, version=1)["history"] == []
    assert read_state(path, older=(1,))["history"] == []
    with pytest.raises(UserError, match="has format 1; this version resumes format 2"):
        read_state(path)
    path.write_bytes(pickle.dumps(OSError("code")))
    with pytest.raises(UserError, match="cannot be read"):
        read_state(path)


def test_a_changed_bit_is_noticed(tmp_path):
    """A weight of another value would be trained on."""
    path = tmp_path / "last.ckpt"
    write_state({"model": {"w": torch.full((64,), 1.5, dtype=torch.float64)}}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.tensor([1.5], dtype=torch.float64).numpy().tobytes()) + 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="is damaged"):
        read_state(path)


def test_interruption_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(RunInterruptedError("stopped", 15)))
    assert (str(error), error.signal_number) == ("stopped", 15)
