"""Rows of SMILES and labels: what is taken, and how a row at fault is named."""

from __future__ import annotations

import numpy as np
import pytest

from molequi.errors import UserError
from molequi.estimators.rows import classes_of, conformers_of, labels_of, smiles_of


def test_one_column_of_texts_in_any_shape() -> None:
    pandas = pytest.importorskip("pandas")
    wanted = ["CCO", "C"]
    column = np.array(wanted, dtype=object)
    for X in (wanted, tuple(wanted), np.array(wanted), column, column[:, None]):
        assert smiles_of(X) == wanted
    series = pandas.Series(wanted, index=[7, 3])
    assert smiles_of(series) == smiles_of(series.to_frame()) == wanted


@pytest.mark.parametrize(
    ("X", "text"),
    [
        ("CCO", "X is the text 'CCO'; give a list of SMILES"),
        ([], "X has no rows"),
        ([["CCO", "C"]], r"X has the shape \(1, 2\); give one column"),
        (["CCO", 3.0, None, " "], "3 of 4 rows cannot be used: row 1: 3.0 is no SMILES; row 2: N"),
        ([float(n) for n in range(7)], "7 of 7 rows .* row 4: 4.0 is no SMILES; ...$"),
    ],
)
def test_other_inputs_are_refused(X: object, text: str) -> None:
    with pytest.raises(UserError, match=text):
        smiles_of(X)


@pytest.mark.parametrize("y", [[1.0, 2.0], np.array([[1.0], [2.0]]), ["a", "b"], [True, False]])
def test_labels_are_one_column(y: object) -> None:
    assert labels_of(y, 2).shape == (2,)


@pytest.mark.parametrize(
    ("y", "text"),
    [
        ([1.0], r"y has the shape \(1,\); give one label for each of the 2 rows"),
        ([[1.0, 2.0], [1.0, 2.0]], r"y has the shape \(2, 2\)"),
        ([1.0, float("nan")], "1 of 2 rows cannot be used: row 1: the label is missing"),
        ([None, "a"], "1 of 2 rows cannot be used: row 0: the label is missing"),
        (["a", float("nan")], "1 of 2 rows cannot be used: row 1: the label is missing"),
        ([["a"], [float("nan")]], "1 of 2 rows cannot be used: row 1: the label is missing"),
    ],
)
def test_other_labels_are_refused(y: object, text: str) -> None:
    with pytest.raises(UserError, match=text):
        labels_of(y, 2)


@pytest.mark.parametrize(
    "y",
    [
        [1, 2.0], [True, 2], [np.float32(1), 3], ["a", np.str_("b")], np.array([1, 2.5], object),
        [["a"], ["b"]], [b"a", b"b"],
    ],
)  # fmt: skip
def test_classes_of_one_type(y: object) -> None:
    assert len(np.unique(classes_of(y, 2))) == 2


@pytest.mark.parametrize("y", [[1, "a", 2], np.array([1, "a", 2], object), [[1.0], ["a"], ["b"]]])
def test_classes_of_several_types_are_refused(y: object) -> None:
    with pytest.raises(
        UserError,
        match=r"^y has classes of several types: row 0 is a number \(1(\.0)?\), row 1 is a text "
        r"\('a'\); give all of one type$",
    ):
        classes_of(y, 3)


@pytest.mark.parametrize("kind", [None, "string", "category"])
def test_missing_labels_of_pandas_are_named(kind: str | None) -> None:
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series(["a", pandas.NA, "b"], dtype=kind)
    with pytest.raises(UserError, match="1 of 3 rows cannot be used: row 1: the label is missing"):
        labels_of(labels, 3)
    assert labels_of(["a", "nan"], 2).tolist() == ["a", "nan"]


def test_unreadable_molecules_are_named_by_row() -> None:
    with pytest.raises(UserError, match=r"2 of 4 rows .* row 1: SMILES 'C\(' .* row 3: .*'Q'"):
        conformers_of(["C", "C(", "O", "Q"], 1, 0)


def test_each_molecule_has_its_conformers() -> None:
    found = conformers_of(["CCO", "O"], 2, 3)
    assert [[one.atoms.get_chemical_formula() for one in each] for each in found] == [
        ["C2H6O"] * 2,
        ["H2O"] * 2,
    ]
    assert [one.atoms.info["geometry"][-6:] for one in found[0]] == ["seed 3", "seed 4"]
