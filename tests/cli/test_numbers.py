"""Numbers and keys of the command line that no program expects: one line, exit code 2."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LONG = "12345678901234567890"
SHOW = ("config", "show", "extxyz")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "--smiles", "C", "--seed", LONG), "--seed"),
        (("md", "--smiles", "C", "--steps", "1", "--timestep", "inf"), "timestep is inf"),
        (("md", "--smiles", "C", "--steps", "1", "--temperature", "nan"), "temperature"),
        (("predict", "--smiles", "C", "--conformers", "2", "--temperature", "inf"), "inf K"),
        (("relax", "--smiles", "C", "--fmax", "nan"), "fmax is nan"),
        (("predict", "--smiles", "C", "--charge", "²"), "--charge"),
        (("label", "--smiles", "C", "--rows", "0:1"), "--rows 0:1 counts"),
        ((*SHOW, "data=[[[["), "data is '[[[['"),
        ((*SHOW, "data=" + "[" * 5000), "data"),
        ((*SHOW, "training.device=x"), "training.device"),
        ((*SHOW, "data.strucures=x"), "did you mean 'data.structures'"),
        ((*SHOW, "stress=1"), "unknown key 'stress'"),
        ((*SHOW, "model.cutoff=.inf"), "model.cutoff is inf"),
        ((*SHOW, "training.learning_rate=.nan"), "training.learning_rate is nan"),
        ((*SHOW, "training.epochs=²"), "training.epochs is '²'"),
        ((*SHOW, f"training.seed={LONG}"), "training.seed is 12345678901234567890"),
        ((*SHOW, "data.seed=-1"), "data.seed is -1"),
        ((*SHOW, "training.epochs=1e300"), "training.epochs"),
        ((*SHOW, "=1"), "not of the form key=value"),
        ((*SHOW, "data.path.x=1"), "data.path"),
    ],
)  # fmt: skip
def test_one_line(molequi, words: tuple[str, ...], message: str) -> None:
    code, out, err = molequi(*words)
    assert (code, out) == (2, ""), err
    assert message in err
    assert len(err.splitlines()) == 1 and len(err) < 1500


@pytest.mark.parametrize("rows", ["0:" + "9" * 18, "0:" + "9" * 400, "²:³", "1:", "5:2", "-1:2"])
def test_rows(molequi, water: Path, tmp_path: Path, rows: str) -> None:
    pytest.importorskip("tblite", reason="labels need a program that computes them")
    output = tmp_path / "l.xyz"
    code, _, err = molequi("label", water, "--level", "gfn2-xtb", "--rows", rows, "-o", output)
    assert code == 2
    assert re.match(r"error: .*--rows", err)
    assert not output.exists()


def test_a_long_cell_of_a_table(molequi, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"name,smiles,gap\n{'a' * 200_000},CC,1\nb,C,2\n")
    code, out, err = molequi("data", "inspect", path)
    assert code in {0, 2}
    assert len(out) < 5000 and len(err) < 1500
    assert "Traceback" not in err
