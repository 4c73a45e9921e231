"""log.txt, lines and tables."""

from __future__ import annotations

import dataclasses
import logging

import pytest

from molequi.properties import PROPERTIES
from molequi.training.log import (
    RunLog,
    beaten_lines,
    epoch_line,
    final_table,
    with_unit,
    yes_no_lines,
)
from molequi.training.metrics import EpochSummary

VALID = {
    "energy": {"mae": 0.02, "rmse": 0.03, "r2": 0.9, "count": 5},
    "energy_per_atom": {"mae": 0.002, "rmse": 0.003, "r2": 0.9, "count": 5},
    "forces": {"mae": 0.0301, "rmse": 0.05, "r2": 0.9, "count": 45},
    "dipole": {"mae": None, "rmse": None, "r2": None, "count": 0},
}
SUMMARY = EpochSummary(
    epoch=4,
    step=50,
    seconds=12.34567,
    learning_rate=1e-3,
    train={"energy": 0.5, "forces": 0.1, "dipole": 0.0},
    valid=VALID,
    score=0.7,
    is_best=True,
)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "eV", "12.3 meV"),
        (1.5, "eV", "1.5 eV"),
        (0.25, "e·Å", "0.25 e·Å"),
        (0.5, "1", "0.5"),
        (None, "eV", "-"),
        (-0.2, "eV/Å", "-200 meV/Å"),
    ],
)
def test_numbers_carry_units(value, unit, text):
    assert with_unit(value, unit) == text


def test_epoch_line_has_units_and_leaves_out_what_has_no_labels():
    line = epoch_line(SUMMARY, [PROPERTIES[name] for name in ("energy", "forces", "dipole")])
    errors = "energy_per_atom 2 meV/atom, forces 30.1 meV/Å"
    assert line == f"epoch 5  12 s  rate 1.0e-03  loss 0.2  valid MAE: {errors} *"


def test_epoch_line_tells_r2_of_the_parts_of_a_tensor():
    numbers = {"mae": 0.5, "rmse": 0.6, "count": 9}
    valid = {
        "rosenfeld": {**numbers, "r2": 0.98},
        "rosenfeld[0o]": {**numbers, "r2": 0.7123},
        "rosenfeld[1o]": {**numbers, "r2": None},
    }
    line = epoch_line(dataclasses.replace(SUMMARY, valid=valid), [PROPERTIES["rosenfeld"]])
    assert line.endswith("valid MAE: rosenfeld 0.5 bohr⁴, R2 rosenfeld[0o] 0.712 *")


def test_final_table_lines_up():
    row = {
        "unit": "eV/Å",
        "count": 45,
        "mae": 0.03,
        "rmse": 0.05,
        "max": 0.2,
        "r2": 0.99,
        "baseline_mae": 0.8,
    }
    lines = final_table({"forces": row, "gap": {**row, "unit": "eV", "r2": None}}).splitlines()
    assert lines[0].split() == [
        "property",
        "unit",
        "count",
        "MAE",
        "RMSE",
        "max",
        "R2",
        "baseline",
        "MAE",
    ]
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split()[-2] == "-"


def test_final_table_has_the_accuracy_of_yes_no_labels():
    row = {
        "unit": "1",
        "count": 4,
        "mae": 0.1,
        "rmse": 0.2,
        "max": 0.4,
        "r2": 0.8,
        "baseline_mae": 0.5,
        "accuracy": 0.75,
    }
    lines = final_table({"handedness": row}).splitlines()
    assert lines[0].split()[-1] == "accuracy"
    assert lines[1].split()[-1] == "0.75"


def test_log_is_written_between_attach_and_detach_and_others_show_what_they_did(tmp_path):
    package, shown = logging.getLogger("molequi"), []

    class Screen(logging.Handler):
        def emit(self, record):
            shown.append(record.getMessage())

    screen = Screen()
    before = package.level
    package.addHandler(screen)
    package.setLevel(logging.WARNING)
    try:
        with RunLog(tmp_path / "log.txt") as log:
            logging.getLogger("molequi.training").info("an epoch")
            logging.getLogger("molequi.training").warning("a gap")
            log.note("what the data said")
        logging.getLogger("molequi.training").info("later")
        assert package.level == logging.WARNING
        assert log not in package.handlers
    finally:
        package.removeHandler(screen)
        package.setLevel(before)
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["an epoch", "a gap", "what the data said"]
    assert shown == ["a gap"]


def test_a_model_below_its_baseline_says_so():
    row = {"unit": "eV", "count": 3, "mae": 2.0, "baseline_mae": 1.0}
    better, unknown = {**row, "mae": 0.5}, {**row, "baseline_mae": None}
    spread = {"unit": "eV/Å", "count": 3, "coverage": {}}
    none = {**row, "count": 0, "mae": None}
    result = {"gap": row, "homo": better, "lumo": unknown, "forces_std": spread, "mu": none}
    (line,) = beaten_lines(result)
    assert "without learning: gap (2 against 1 eV); the model has learned nothing" in line
    assert beaten_lines({"homo": better, "dipole[1o]": row}) == []
    (line,) = beaten_lines({"gap": {**row, "baseline_mae": 0.0}})  # of labels that are all alike
    assert "gap (2 against 0 eV)" in line
    (line,) = beaten_lines({"logP": {**row, "unit": "1"}})
    assert "logP (2 against 1);" in line


def test_a_label_with_one_class_has_a_sentence_and_no_dashes():
    told = {"roc_auc": 0.75, "pr_auc": 0.5, "mcc": 0.1, "balanced_accuracy": 0.6}
    lines = yes_no_lines({"toxic": told, "active": dict.fromkeys(told), "gap": {"mae": 1.0}})
    assert lines == [
        "toxic: ROC-AUC 0.75, PR-AUC 0.5, MCC 0.1, balanced accuracy 0.6",
        "active: the labels here are all alike, so nothing tells yes from no",
    ]


def test_energies_of_another_level_are_told_by_the_forces() -> None:
    row = {"count": 10, "mae": 5.0, "baseline_mae": 0.1, "unit": "eV"}
    forces = {"count": 90, "mae": 0.1, "baseline_mae": 1.0, "unit": "eV/Å"}
    (line,) = beaten_lines({"energy": row, "energy_per_atom": row, "forces": forces})
    assert "another level of theory" in line
    (line,) = beaten_lines({"energy": row, "forces": {**forces, "mae": 2.0}})
    assert "learned nothing" in line
    (line,) = beaten_lines({"energy": row, "dipole": row, "forces": forces})
    assert "learned nothing" in line
