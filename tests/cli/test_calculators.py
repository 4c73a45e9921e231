"""`molequi check --calculator`: what is measured, and what is refused with one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FACTORY = """
from ase.calculators.emt import EMT

class Pushed(EMT):
    def calculate(self, *arguments):
        super().calculate(*arguments)
        self.results["forces"] = self.results["forces"] + 0.01

def make():
    return EMT()

ready = Pushed()
number = 3
"""


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with calculators in the current folder."""
    path = tmp_path / "my_calculators.py"
    path.write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    return path


def test_a_calculator_of_a_module_is_measured(molequi, water):
    result = molequi("check", "--calculator", "ase.calculators.emt:EMT", water, "--json")
    tests = json.loads(result.out)
    assert result.code == 0
    assert all(entry["ok"] for entry in tests.values())
    assert {"rotation.forces", "force_consistency", "force_along_separation"} <= set(tests)
    assert tests["rotation.forces"]["limit"] == 1e-4


def test_without_input_two_molecules_are_measured(molequi):
    result = molequi("check", "--calculator", "ase.calculators.emt:EMT", "--dtype", "float64")
    assert result.code == 0
    assert "Physics of ase.calculators.emt:EMT" in result.out
    assert "lactonitrile" in result.out


def test_a_file_is_run_where_it_is_named_and_only_there(molequi, own_file, water):
    healthy = molequi("check", "--calculator", "./my_calculators.py:make", water)
    assert healthy.code == 0
    assert str(own_file) in healthy.err
    faulty = molequi("check", "--calculator", f"{own_file}:ready", water)
    assert faulty.code == 1
    assert "FAILED rotation.forces" in faulty.out
    by_name = molequi("check", "--calculator", "my_calculators:make", water)
    assert by_name.code == 2
    assert "write ./my_calculators.py:FACTORY" in by_name.err
    assert str(own_file.parent) not in sys.path


@pytest.mark.parametrize(
    ("calculator", "words"),
    [
        ("ase.calculators.emt", "is not MODULE:FACTORY"),
        ("no_such_module:EMT", "no module no_such_module"),
        ("no_such_file.py:EMT", "no file no_such_file.py"),
        ("ase.calculators.emt:NoSuchName", "has no NoSuchName"),
        ("ase.build:molecule", "cannot be called without arguments"),
        ("ase:Atoms", "gives a Atoms, which is no ASE calculator"),
        ("my_calculators.py:number", "is a int, no factory"),
    ],
)
def test_what_is_no_calculator_is_refused(molequi, own_file, calculator, words):
    result = molequi("check", "--calculator", calculator, "--json")
    assert result.code == 2
    assert result.out == ""
    (message,) = [line for line in result.err.splitlines() if line.startswith("error")]
    assert words in message
    assert "Traceback" not in result.err


def test_a_structure_that_it_cannot_compute_is_named(molequi, tmp_path):
    strange = tmp_path / "hcl.xyz"
    strange.write_text("2\n\nH 0 0 0\nCl 0 0 1.27\n")
    result = molequi("check", "--calculator", "ase.calculators.emt:EMT", strange)
    assert result.code == 2
    assert "EMT has no energy of" in result.err


def test_model_and_calculator_exclude_each_other(molequi, water):
    result = molequi("check", "organic", water, "--calculator", "ase.calculators.emt:EMT")
    assert result.code == 2
    assert "not both" in result.err


@pytest.mark.parametrize("option", [("--dispersion", "d3bj"), ("--device", "cuda")])
def test_options_of_models_are_refused_with_a_calculator(molequi, option):
    result = molequi("check", "--calculator", "ase.calculators.emt:EMT", *option)
    assert (result.code, result.out) == (2, "")
    assert f"{option[0]} would do nothing here: it belongs to a MODEL" in result.err


PRINTING = """
import atexit, os
from ase.calculators.lj import LennardJones

print("imported")
atexit.register(os.system, "echo at the end")

class Talking(LennardJones):
    def calculate(self, *arguments, **options):
        print("SCF")
        os.system("echo a program")
        super().calculate(*arguments, **options)
"""


@pytest.mark.parametrize("command", [("check",), ("evaluate", "pair.json")])
def test_what_a_calculator_prints_goes_to_stderr(command, tmp_path):
    (tmp_path / "talking.py").write_text(PRINTING)
    pair = {"numbers": [18, 18], "positions": [[0, 0, 0], [0, 0, 3.8]]}
    reaction = {"name": "none", "terms": [[1, "Ar2"], [-1, "Ar2"]], "kcal_mol": 0.0}
    suite = {"systems": {"Ar2": pair}, "reactions": [reaction]}
    (tmp_path / "pair.json").write_text(json.dumps(suite))
    ended = subprocess.run(
        [sys.executable, "-m", "molequi", *command, "--calculator", "./talking.py:Talking",
         "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert json.loads(ended.stdout), ended.stderr
    assert {"imported", "SCF", "a program", "at the end"} <= set(ended.stderr.splitlines())
