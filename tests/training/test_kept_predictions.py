"""An evaluation that was interrupted goes on, and ends with the same numbers."""

from __future__ import annotations

import copy
import dataclasses
import os
import signal

import pytest
import torch

from molequi.errors import RunInterruptedError
from molequi.evaluation import evaluate
from molequi.training import predictions
from molequi.training.predictions import predict_frames

NAMES = ["energy", "forces", "dipole"]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The structures of each batch that was computed and not taken from a journal."""
    batches: list[list[int]] = []
    whole = predictions._predict_batch

    def count(model, frames, indices, names):
        batches.append(indices.tolist())
        return whole(model, frames, indices, names)

    monkeypatch.setattr(predictions, "_predict_batch", count)
    return batches


def stopping(after: int):
    """Ask the run to stop, as Ctrl-C does, when so many structures are done."""

    def progress(done: int, _total: int) -> None:
        if done == after:
            os.kill(os.getpid(), signal.SIGINT)

    return progress


def test_what_is_done_is_kept(network, toy_frames, tmp_path, computed):
    frames, journal = toy_frames(7), tmp_path / "out.journal"
    # What no model gives of periodic structures is kept as well.
    frames = dataclasses.replace(frames, pbc=frames.pbc.clone(), cell=frames.cell.clone())
    frames.pbc[1], frames.cell[1] = True, 12.0 * torch.eye(3)
    expected = predict_frames(network, frames, NAMES, batch_size=2)
    assert expected["dipole"][1].isnan().all()
    with pytest.raises(RunInterruptedError, match="evaluate stopped by SIGINT; 4 of 7 structures"):
        predict_frames(network, frames, NAMES, batch_size=2, progress=stopping(4), journal=journal)
    assert journal.exists()
    computed.clear()
    found = predict_frames(network, frames, NAMES, batch_size=2, journal=journal)
    assert computed == [[4, 5], [6]]
    assert not journal.exists()
    for name, values in expected.items():
        assert torch.equal(found[name].nan_to_num(), values.nan_to_num()), name
        assert torch.equal(found[name].isnan(), values.isnan()), name


def interrupted(network, frames, journal, **settings) -> None:
    settings = {"batch_size": 2, **settings}
    with pytest.raises(RunInterruptedError):
        predict_frames(network, frames, NAMES, progress=stopping(4), journal=journal, **settings)


@pytest.mark.parametrize("what", ["positions", "outputs", "batch_size", "weights"])
def test_other_runs_begin_anew(network, toy_frames, tmp_path, computed, what):
    frames, journal = toy_frames(6), tmp_path / "out.journal"
    interrupted(network, frames, journal)
    if what == "positions":
        frames.positions[0] += 1e-9
    model = copy.deepcopy(network).float() if what == "weights" else network
    computed.clear()
    names = NAMES[:2] if what == "outputs" else NAMES
    predict_frames(
        model, frames, names, batch_size=3 if what == "batch_size" else 2, journal=journal
    )
    assert computed[0][0] == 0


@pytest.mark.parametrize("damage", [b"}", b"not JSON\n"])
def test_a_damaged_line_is_computed_again(network, toy_frames, tmp_path, computed, damage):
    frames, journal = toy_frames(6), tmp_path / "out.journal"
    expected = predict_frames(network, frames, NAMES, batch_size=2)
    interrupted(network, frames, journal)
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:-1], lines[-1][:50] + damage]))
    computed.clear()
    found = predict_frames(network, frames, NAMES, batch_size=2, journal=journal)
    assert computed == [[2, 3], [4, 5]]
    assert all(torch.equal(found[name], expected[name]) for name in NAMES)


def test_evaluate_goes_on(network, toy_frames, tmp_path, computed):
    frames, journal = toy_frames(6), tmp_path / "out.journal"
    expected = evaluate(network, frames, batch_size=2)
    with pytest.raises(RunInterruptedError):
        evaluate(network, frames, batch_size=2, progress=stopping(2), journal=journal)
    computed.clear()
    assert evaluate(network, frames, batch_size=2, journal=journal) == expected
    assert len(computed) == 2
