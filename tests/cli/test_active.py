"""`molequi active`: exit codes, what is printed, and that a wrong setting costs no label."""

from __future__ import annotations

import json

import pytest

EMT = ("--calculator", "ase.calculators.emt:EMT")
SHORT = ("--copies", 1, "--steps", 20, "--interval", 5, "--rounds", 1, "--per-round", 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "who labels? give --level"),
        (["--level", "gfn2-xtb", *EMT], "who labels? give --level"),
        (["--level", "nonsense"], "unknown level 'nonsense'"),
        (["--calculator", "emt"], "is not MODULE:FACTORY"),
        ([*EMT, "--doubt", "-1"], "doubt is -1 eV/Å; it must be positive"),
        ([*EMT, "--labels", "1"], "--labels"),
        ([*EMT, "--model", "nosuch"], "nosuch"),
        ([*EMT, "--data", "nosuch.xyz"], "nosuch.xyz"),
        ([*EMT, "--config", "nosuch"], "nosuch"),
        ([*EMT, "training.epoch=3"], "did you mean"),
    ],
)
def test_wrong_usage_is_one_line_and_2(molequi, water, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = molequi("active", water, *arguments, *SHORT, "--output", "learned")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "learned").exists()


def test_nothing_to_move_is_refused(molequi):
    result = molequi("active", *EMT)
    assert (result.code, result.out) == (2, "")
    assert "nothing to move" in result.err


def test_json_is_one_document(molequi, water, tmp_path):
    settings = ("training.epochs=1", "training.batch_size=2")
    output = ("--output", tmp_path / "learned")
    result = molequi("active", water, *EMT, *SHORT, *settings, *output, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert found["n_labels"] == 3
    assert found["reason"] == "the only round is done"
    assert (found["rows"][0]["round"], found["rows"][0]["labelled"]) == (1, 3)
    assert found["model"] == str(tmp_path / "learned" / "model.safetensors")
    assert "round 1: 3 labels by ase.calculators.emt:EMT" in result.err


def test_files_that_nothing_was_written_to_are_not_named(molequi, tmp_path, monkeypatch):
    monkeypatch.setattr("molequi.active.loop.evenly", lambda *_: [])
    (tmp_path / "ion.xyz").write_text("1\ncharge: -1\nCl 0 0 0\n")
    arguments = ("active", tmp_path / "ion.xyz", *EMT, *SHORT, "--output", tmp_path / "learned")
    result = molequi(*arguments, "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    assert (found["n_labels"], found["model"], found["labelled"]) == (0, None, None)
    assert found["reason"].startswith("no frame could be picked")
    assert "nothing was labelled, so nothing was trained" in molequi(*arguments).out
