"""A command that torchrun starts several times: the first process writes and prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from molequi import experiments


@pytest.mark.parametrize(("rank", "code"), [("0", 2), ("1", 0)])
def test_only_the_first_process_looks_for_the_result(molequi, tmp_path, monkeypatch, rank, code):
    """The second found no result.json, which the first had not written yet, and ended with 1."""
    run = SimpleNamespace(has_callbacks=False, run=lambda _callbacks: Path(tmp_path))
    monkeypatch.setattr(experiments, "prepare", lambda *_args, **_kwargs: run)
    monkeypatch.setenv("RANK", rank)
    result = molequi("train", "extxyz")
    assert result.code == code
    assert result.out == ""
