"""Rows of SMILES and labels as scikit-learn hands them on, and what is wrong with them by row."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.structures.inputs import read_inputs
from molequi.structures.structure import Structure

_SHOWN = 5  # rows that a message names
_MISSING = {"NAType", "NaTType"}  # pandas' words for it, which need not be installed


def smiles_of(X: Any) -> list[str]:
    """Return the SMILES (or InChI) of a list, an array, or a Series or DataFrame of one column.

    Raises UserError for anything else, and for rows that are no text.
    """
    if isinstance(X, str):
        raise UserError(f"X is the text {X!r}; give a list of SMILES, such as [{X!r}]")
    cells = np.asarray(X, dtype=object)
    if cells.ndim == 2 and cells.shape[1] == 1:
        cells = cells[:, 0]
    if cells.ndim != 1:
        raise UserError(f"X has the shape {cells.shape}; give one column of SMILES")
    if not len(cells):
        raise UserError("X has no rows; give a list of SMILES")
    refuse_rows(
        {
            row: f"{cell!r} is no SMILES"
            for row, cell in enumerate(cells)
            if not isinstance(cell, str) or not cell.strip()
        },
        len(cells),
    )
    return [str(cell) for cell in cells]


def labels_of(y: Any, n_rows: int) -> np.ndarray:
    """Return labels as (n_rows,). Raises UserError for another shape and for missing labels."""
    # Of texts and a float nan NumPy makes the text "nan".
    labels, given = np.asarray(y), np.asarray(y, dtype=object)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels, given = labels[:, 0], given[:, 0]
    if labels.shape != (n_rows,):
        raise UserError(
            f"y has the shape {labels.shape}; give one label for each of the {n_rows} rows of X"
        )
    missing = [row for row, label in enumerate(given) if _is_missing(label)]
    refuse_rows({row: "the label is missing" for row in missing}, n_rows)
    return labels


def classes_of(y: Any, n_rows: int) -> np.ndarray:
    """Return classes as (n_rows,). Raises UserError as `labels_of`, and for texts beside numbers.

    Of these NumPy makes texts, or cannot sort them.
    """
    labels = labels_of(y, n_rows)
    first: dict[str, int] = {}
    given = np.asarray(y, dtype=object).reshape(-1)
    for row, label in enumerate(given):
        first.setdefault(_kind(label), row)
    if len(first) > 1:
        kinds = ", ".join(f"row {row} is a {kind} ({given[row]!r})" for kind, row in first.items())
        raise UserError(f"y has classes of several types: {kinds}; give all of one type")
    return labels


def _kind(label: object) -> str:
    if isinstance(label, numbers.Number | np.bool_):
        return "number"
    return "text" if isinstance(label, str) else type(label).__name__


def _is_missing(label: Any) -> bool:
    if isinstance(label, float | np.floating):
        return bool(np.isnan(label))
    return label is None or type(label).__name__ in _MISSING


def conformers_of(smiles: list[str], n_each: int, seed: int) -> list[list[Structure]]:
    """Place each molecule in space `n_each` times, with the seeds `seed`, `seed + 1`, ...

    Raises UserError that names the rows which cannot be read or placed.
    """
    found = [list(read_inputs(smiles=[text], conformers=n_each, seed=seed)) for text in smiles]
    refuse_rows(
        {
            row: one.error
            for row, structures in enumerate(found)
            for one in structures
            if one.error is not None
        },
        len(smiles),
    )
    return found


def refuse_rows(reasons: Mapping[int, str], n_rows: int) -> None:
    """Raise UserError that names rows, counted from 0, with what is wrong there; if there are any.

    In a cross-validation rows are those of its parts, so a reason should name the molecule.
    """
    if reasons:
        named = [f"row {row}: {reason}" for row, reason in list(reasons.items())[:_SHOWN]]
        more = "; ..." if len(reasons) > _SHOWN else ""
        raise UserError(f"{len(reasons)} of {n_rows} rows cannot be used: {'; '.join(named)}{more}")
