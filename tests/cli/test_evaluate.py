"""`molequi evaluate` on suites of reference energies, by models and by calculators."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import ase.io
import numpy as np
import pytest
import typer
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from typer.core import TyperCommand

from molequi.cli import evaluate as command
from molequi.errors import RunInterruptedError
from molequi.evaluation import evaluate
from molequi.prediction.energies import CalculatorEnergies
from molequi.runtime.journal import journal_path
from molequi.runtime.locks import locked
from molequi.runtime.plain import plain

LENNARD_JONES = """
from ase.calculators.lj import LennardJones

def make():
    return LennardJones(epsilon=0.01, sigma=3.4, rc=100.0)
"""
SUITE = {
    "systems": {
        name: {"numbers": [z] * n, "positions": [[0, 0, 4.0 * k] for k in range(n)]}
        for name, z, n in [("H", 1, 2), ("H2", 1, 4), ("Ar", 18, 1), ("Ar2", 18, 2)]
    },
    "reactions": [
        {"name": "hydrogen", "terms": [[1, "H2"], [-2, "H"]], "kcal_mol": 0.0},
        {"name": "argon", "terms": [[1, "Ar2"], [-2, "Ar"]], "kcal_mol": 0.0},
    ],
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "hand.json"
    path.write_text(json.dumps(SUITE))
    return path


@pytest.fixture
def calculator(tmp_path: Path) -> str:
    path = tmp_path / "lj.py"
    path.write_text(LENNARD_JONES)
    return f"{path}:make"


def test_model_on_a_suite(molequi, tiny_model, suite, tmp_path):
    result = molequi("evaluate", tiny_model, suite, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert all(text in result.out for text in ("hand", "MAE", "kcal/mol", "hydrogen"))
    assert "refused: argon: Ar2: element Ar (atom 0) is not in this model" in result.out
    document = json.loads(molequi("evaluate", tiny_model, suite, "--json").out)
    assert document["hand"]["count"] == 1
    assert [row["name"] for row in document["hand"]["refused"]] == ["argon"]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == document
    assert (tmp_path / "out" / "hand.png").read_bytes().startswith(b"\x89PNG")
    assert molequi("evaluate", tiny_model, suite, "--strict").code == 1
    assert "--overwrite" in molequi("evaluate", tiny_model, suite, "-o", tmp_path / "out").err


def test_a_folder_that_another_command_writes_into_is_refused(molequi, tiny_model, suite, tmp_path):
    (folder := tmp_path / "out").mkdir()
    arguments = ("evaluate", tiny_model, suite, "-o", folder)
    with locked(folder):
        result = molequi(*arguments)
    assert (result.code, list(folder.iterdir())) == (2, [])
    assert "another run is writing to" in result.err
    assert molequi(*arguments).code == 0


def test_calculator_on_suites_of_a_folder(molequi, calculator, suite, tmp_path):
    (tmp_path / "again.json").write_text(json.dumps(SUITE))
    result = molequi("evaluate", "--calculator", calculator, tmp_path, "--json", "--strict")
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert list(document) == ["again", "hand"]
    x = (3.4 / 4.0) ** 6
    expected = 4 * 0.01 * (x * x - x) * 23.060548
    argon = document["hand"]["reactions"][1]
    assert argon["error"] == pytest.approx(expected, abs=1e-6)


def test_bundled_suite_by_name(molequi, tiny_model):
    result = molequi("evaluate", tiny_model, "s22", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["s22"]["count"] == 22


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a MODEL and DATA or SUITE"),
        (("MODEL", "s66", "molecules.xyz"), "molecules.xyz is no suite"),
        (("MODEL", "a.xyz", "b.xyz"), "a.xyz is no suite"),
        (("MODEL", "s66", "--split", "test"), "--split is for labelled DATA"),
        (("MODEL", "samples/ethanol.extxyz.gz", "--strict"), "--strict is for suites"),
        (("MODEL", "missing.json.gz"), "no suite missing.json.gz"),
        (("--calculator", "ase.calculators.lj:LennardJones"), "give a SUITE"),
        (("--calculator", "ase.calculators.lj:LennardJones", "qm9"), "qm9 is no suite"),
        (("--calculator", "ase.calculators.lj:LennardJones", "s22", "--dtype", "float64"),
         "--dtype would do nothing here: it belongs to a MODEL"),
        (("--calculator", "ase.calculators.lj:LennardJones", "s22", "--batch-size", "3"),
         "--batch-size would do nothing here"),
        (("--calculator", "ase.calculators.lj:LennardJones", "physics", "--device", "cuda"),
         "--device would do nothing here"),
        (("--calculator", "ase.calculators.lj:LennardJones", "s22", "--elements", "Zz"),
         "--elements would do nothing here: it belongs to the suite physics of a --calculator"),
        (("MODEL", "physics", "--elements", "H"), "--elements would do nothing here"),
        (("MODEL", "physics", "--batch-size", "3"), "--batch-size would do nothing here"),
        (("--calculator", "gfn3", "s66"), "none of gfn1-xtb, gfn2-xtb"),
        (("--calculator", "ase.calculators.lj:ljs", "s66"), "has no ljs"),
    ],
)  # fmt: skip
def test_usage_is_refused_in_a_line(molequi, tiny_model, arguments, message):
    result = molequi("evaluate", *(tiny_model if a == "MODEL" else a for a in arguments))
    assert result.code == 2
    assert message in result.err
    assert not result.out


def test_labels_with_plots(molequi, tmp_path):
    """Of a model that knows its errors: how often it was right, and a figure of that."""
    settings = ("training.epochs=1", "model.n_layers=1", "model.n_channels=4", "model.l_max=1")
    run = molequi(
        *("train", "extxyz", "data.path=samples/ethanol.extxyz.gz", "data.limit=40"),
        *("data.targets=[energy,forces,forces_std]", *settings, "-o", tmp_path / "run"),
    )
    assert run.code == 0, run.err
    assert "within the radius of 50 % lie" in run.out
    arguments = ("evaluate", tmp_path / "run", "--split", "test", "-o", tmp_path / "out")
    result = molequi(*arguments)
    assert result.code == 0, result.err
    assert "forces_std: rank correlation with the" in result.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    plots = {"parity_energy.png", "parity_forces.png", "reliability_forces_std.png"}
    assert names == {*plots, "calibration.png", "result.json", "predictions.csv"}
    document = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert set(document["forces_std"]["coverage"]) == {"50", "68", "90", "95"}
    assert "--overwrite" in molequi(*arguments).err
    table = molequi("predict", "--smiles", "CCO", "--model", tmp_path / "run")
    assert "max std F eV/Å" in table.out


def test_model_without_energy(molequi):
    result = molequi("evaluate", "chiroptical", "s66")
    assert result.code == 2
    assert "but no energy; a suite compares energies" in result.err


def test_gfn2_by_name_reaches_the_published_quality(molequi):
    """0.8 kcal/mol on S22 in doi:10.1021/acs.jctc.8b01176; ions are told their charge."""
    pytest.importorskip("tblite", exc_type=ImportError)
    result = molequi("evaluate", "--calculator", "gfn2-xtb", "s22", "--json")
    assert result.code == 0, result.err
    assert 0.6 < json.loads(result.out)["s22"]["mae"] < 0.9


def test_gfn2_is_told_the_charge(molequi, reference_data):
    pytest.importorskip("tblite", exc_type=ImportError)
    suite = reference_data("suites/AHB21.json.gz")
    result = molequi("evaluate", "--calculator", "gfn2-xtb", suite, "--json")
    document = json.loads(result.out)["AHB21"]
    assert document["count"] == 13
    # Neutral, these complexes would miss the reference by tens of kcal/mol.
    assert document["max"] < 15


MORSE = """
from ase.calculators.morse import MorsePotential

def make():
    return MorsePotential(epsilon=4.0, r0=0.74, rho0=1.5, rcut1=50.0, rcut2=60.0)
"""


def test_physics_of_a_calculator(molequi, tmp_path):
    path = tmp_path / "morse.py"
    path.write_text(MORSE)
    command = ("evaluate", "physics", "--calculator", f"{path}:make", "--elements", "H")
    result = molequi(*command, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "dimer_minima" in result.out
    assert "within their limits" in result.out
    document = json.loads((tmp_path / "out" / "result.json").read_text())["physics"]
    assert set(document["bond_lengths"]) == {"value", "limit", "ok", "unit", "where"}
    assert document["bond_lengths"]["unit"] == "Å"
    assert document["bond_lengths"]["value"] == pytest.approx(0.0014, abs=5e-4)
    assert all(row["ok"] for row in document.values())
    assert (tmp_path / "out" / "physics.png").is_file()


def test_physics_beyond_a_limit_is_strictly_a_failure(molequi, calculator, suite):
    """The atoms of this calculator are 3.8 Å apart at least."""
    command = (
        "evaluate",
        "physics",
        suite,
        "--calculator",
        calculator,
        "--elements",
        "H",
        "--json",
    )
    result = molequi(*command)
    assert result.code == 0, result.err
    document = json.loads(result.out)
    assert set(document) == {"physics", "hand"}
    assert document["physics"]["bond_lengths"]["value"] == pytest.approx(
        3.4 * 2 ** (1 / 6) - 0.7414, abs=0.1
    )
    assert not document["physics"]["bond_lengths"]["ok"]
    assert document["physics"]["rotation_forces"]["ok"]
    assert molequi(*command, "--strict").code == 1
    assert "BEYOND bond_lengths" in molequi(*command[:-1]).out


def test_a_suite_called_physics_is_not_lost_beside_the_one_without_data(
    molequi, calculator, suite, tmp_path
):
    path = suite.rename(tmp_path / "physics.json")
    result = molequi("evaluate", "physics", path, "--calculator", calculator)
    assert (result.code, result.out) == (2, "")
    assert "is called physics, as the one without data is" in result.err


def test_physics_of_a_model(molequi, tiny_model):
    result = molequi("evaluate", tiny_model, "physics", "--json")
    assert result.code == 0, result.err
    document = json.loads(result.out)["physics"]
    assert document["rotation_forces"]["ok"]
    assert document["extensivity"]["ok"]


def test_elements_that_are_none(molequi, calculator):
    result = molequi("evaluate", "physics", "--calculator", calculator, "--elements", "H Xx")
    assert result.code == 2
    assert "Xx is no element" in result.err


def test_an_interrupted_evaluation_goes_on(molequi, tiny_model, tmp_path):
    """As Ctrl-C leaves it: a journal beside the folder, which the same command takes up."""
    labelled, output = tmp_path / "water.xyz", tmp_path / "out"
    waters = [molecule("H2O") for _ in range(3)]
    for k, atoms in enumerate(waters):
        atoms.positions[0, 2] += 0.01 * k
        atoms.calc = SinglePointCalculator(atoms, energy=-0.1 * k, forces=np.zeros((3, 3)))
    ase.io.write(labelled, waters, format="extxyz")

    def stop(done: int, _total: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterruptedError, match="2 of 3 structures are in .*out.journal"):
        evaluate(tiny_model, labelled, batch_size=1, journal=journal_path(output), progress=stop)
    command = ("evaluate", tiny_model, labelled, "--batch-size", "1", "-o", output)
    result = molequi(*command)
    assert result.code == 0, result.err
    assert not journal_path(output).exists()
    expected = evaluate(tiny_model, labelled, batch_size=1)
    assert json.loads((output / "result.json").read_text()) == plain(expected)


def test_a_calculator_of_which_all_fails_is_2(molequi, suite, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("def make(charge):\n    raise KeyError('key')\n", encoding="utf-8")
    result = molequi("evaluate", "--calculator", f"{path}:make", suite)
    assert result.code == 2
    assert "KeyError" in result.out


def test_energies_are_kept_until_the_folder_is_there(calculator, suite, tmp_path, monkeypatch):
    """Physics, which comes after suites, may take its time."""
    output, asked = tmp_path / "out", []
    energy = CalculatorEnergies._energy

    def interrupted(*_arguments):
        raise KeyboardInterrupt

    def counted(self, atoms):
        asked.append(atoms)
        return energy(self, atoms)

    monkeypatch.setattr(CalculatorEnergies, "_energy", counted)
    monkeypatch.setattr(command, "check_subject", interrupted)
    context = typer.Context(TyperCommand("evaluate"))
    with pytest.raises(KeyboardInterrupt):
        command.evaluate(context, str(suite), ["physics"], calculator=calculator, output=output)
    n_asked = len(asked)
    assert n_asked
    assert journal_path(output).exists()
    command.evaluate(context, str(suite), calculator=calculator, output=output)
    assert len(asked) == n_asked
    assert (output / "result.json").is_file()
    assert not journal_path(output).exists()
