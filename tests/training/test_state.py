"""Averaged weights, and the file that a run resumes from."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from molequi.errors import RunInterruptedError, UserError
from molequi.training.state import EMA, read_state, write_state


def test_average_follows_the_equation_and_leaves_frozen_weights_alone():
    module = nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    nn.init.zeros_(module.weight)
    average = EMA(module, 0.5)
    expected = 0.0
    for step in range(1, 6):
        module.weight.data.fill_(float(step))
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert float(average.values["weight"]) == pytest.approx(expected, rel=1e-6)
    assert list(average.values) == ["weight"]
    with average.applied():
        assert float(module.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(module.weight.detach()) == 5.0


def test_no_averaging_is_the_weights_themselves():
    module = nn.Linear(2, 1)
    average = EMA(module, 0.0)
    module.weight.data += 3.0
    average.update()
    assert torch.equal(average.values["weight"], module.weight.data)


def test_average_is_restored_exactly():
    module = nn.Linear(3, 2)
    average = EMA(module, 0.9)
    for _ in range(4):
        module.weight.data += 0.1
        average.update()
    copy = EMA(module, 0.9)
    copy.load_state_dict(average.state_dict())
    assert copy.n_steps == 4
    assert all(torch.equal(copy.values[name], value) for name, value in average.values.items())


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
    path.write_bytes(pickle.dumps(OSError("code")))
    with pytest.raises(UserError, match="cannot be read"):
        read_state(path)


def test_interruption_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(RunInterruptedError("stopped", 15)))
    assert (str(error), error.signal_number) == ("stopped", 15)
