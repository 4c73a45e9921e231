"""`molequi demo`: what `make demo` shows."""

from __future__ import annotations

import json
import re

import pytest


@pytest.mark.slow
def test_demo_runs_and_says_where_things_lie(molequi, tmp_path):
    folder = tmp_path / "demo"
    result = molequi("demo", "--output", folder, "--minutes", "0.1")
    assert result.code == 0, result.err
    for text in ("meV/atom/ps", "baseline MAE", "converged", "tests passed", "max|F| eV/Å"):
        assert text in result.out
    shown = re.findall(r"^\$ molequi (\w+)", result.out, re.MULTILINE)
    assert set(shown) == {"predict", "relax", "md", "train", "check"}
    listed = re.findall(r"\S*/demo/\S+", result.out.split("What it left behind")[1])
    assert len(listed) >= 7
    assert (folder / "qm9_sample" / "plots" / "learning_curve.png").stat().st_size > 1000
    assert json.loads((folder / "qm9_sample" / "result.json").read_text())["gap"]["count"] > 0
    assert molequi("demo", "--output", folder).code == 2
