"""`molequi demo`: what `make demo` shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from molequi.cli import demo


@pytest.fixture(scope="module", autouse=True)
def figures():
    """Draw them: the demo shows them."""


@pytest.mark.slow
def test_demo_runs_and_says_where_things_lie(molequi, tmp_path):
    folder = tmp_path / "demo"
    result = molequi("demo", "--output", folder, "--minutes", "0.02")
    assert result.code == 0, result.err
    for text in ("meV/atom/ps", "baseline MAE", "converged", "tests passed", "max|F| eV/Å"):
        assert text in result.out
    shown = re.findall(r"^\$ molequi (\w+)", result.out, re.MULTILINE)
    assert set(shown) == {"predict", "relax", "vibrations", "md", "train", "check", "report"}
    listed = re.findall(r"\S*/demo/\S+", result.out.split("What it left behind")[1])
    assert len(listed) >= 7
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in ("Total energy", "Infrared spectrum", "Errors by element and size", "benzene"):
        assert text in page
    assert (folder / "qm9_sample" / "plots" / "learning_curve.png").stat().st_size > 1000
    assert json.loads((folder / "qm9_sample" / "result.json").read_text())["gap"]["count"] > 0
    assert molequi("demo", "--output", folder).code == 2


def test_the_command_that_it_names_runs_where_the_demo_ran(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = Path("my demo") / "qm9_sample"
    run.mkdir(parents=True)
    (run / "model.safetensors").touch()
    demo._print_files(Path("my demo"))
    (named,) = re.findall(r"molequi (predict FILE --model .*?) *$", capsys.readouterr().out, re.M)
    assert Path(shlex.split(named)[-1]) == run
