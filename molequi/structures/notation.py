"""What an XYZ file says about units, cells, columns and ions in ways that are not XYZ's own.

Coordinates of XYZ are Cartesian and in Å. A file that says otherwise would be read wrong without a
word, so it is refused by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula

from molequi.errors import UserError
from molequi.structures.comments import ForeignGeometry, ipi_geometry
from molequi.structures.keys import tidy_keys
from molequi.structures.text import plain_numbers

QM9_COMMENT = re.compile(r"gdb\s+\d+\s")
_LENGTH = r"(bohrs?|nano-?met(?:er|re)s?|pico-?met(?:er|re)s?|nm|pm)(?![\w^*/²³])"
_ATOMIC = r"(atomic[ _]units?|a\.u\.|au)(?![\w^*/²³])"
_UNITS = (
    re.compile(rf"(?i)(?<![\w.])(?:\w+[ _])?units?[ _]*[:=]*\s*[\"'(\[]?(?:{_LENGTH}|{_ATOMIC})"),
    re.compile(
        rf"(?i)(?:^|\b(?:coord\w*|positions?|geometry|structure|xyz|distances?|lengths?)\s+"
        rf"(?:are |is )?)(?:in )?[(\[]?{_LENGTH}"
    ),
)
_NO_LENGTH = re.compile(r"(?i)\b(energ\w*|forces?|dipole\w*|charge\w*|stress\w*)[ _]units?")
_FRACTIONAL = re.compile(
    r"(?i)\bfractional\b|\b(scaled|direct|reduced|crystal)[ _](coord\w*|positions?)"
)
_CELL_LENGTHS = re.compile(r"(?i)(?<![\w-])a\s*[:=]\s*[\d.]+.*\bb\s*[:=]\s*[\d.]+.*\bc\s*[:=]")
_NUMBER = r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ATOM_ROW = re.compile(rf"\s*([A-Z][a-z]?)\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}\s*")
_FLAGS = {"0", "-1", "1"}
_CHARGED_SMILES = re.compile(r"\[[^\[\]\s=]*[A-Za-z][^\[\]\s=+-]*([+-])(\d*)\]")
_CHARGED_FORMULA = re.compile(r"((?:[A-Z][a-z]?\d*)+?)(?:\^?\d?[+-]|[+-]\d)")


class Said(NamedTuple):
    """What a comment line is: i-PI's, QM9's with a number, JSON, or keys and words."""

    foreign: ForeignGeometry | None = None
    number: int | None = None
    json: dict[str, Any] | None = None
    keys: str | None = None


def said_of(comment: str) -> Said:
    """Tell what a comment line is, and read it. Raises UserError for what would be read wrong."""
    foreign = ipi_geometry(comment)
    if foreign is not None:
        return Said(foreign)
    if QM9_COMMENT.match(comment):
        return Said(number=int(comment.split()[1]))
    json = json_info(comment)
    if json is not None:
        return Said(json=json)
    refuse_other_notation(comment)
    return Said(keys=tidy_keys(plain_numbers(comment)))


def refuse_other_notation(comment: str) -> None:
    """Raise UserError for a comment line that states other units, cells or coordinates.

    Also for one that is the row of an atom: then the comment line itself is missing.
    """
    row = _ATOM_ROW.fullmatch(comment)
    if row and row[1] in chemical_symbols:
        raise UserError(
            f"the comment line is the row of an atom ({comment.strip()!r}), so the line between "
            "the number of atoms and the first of them is missing; add it, even if it is empty"
        )
    found = next((match for pattern in _UNITS if (match := pattern.search(comment))), None)
    if found and not _NO_LENGTH.search(found[0]):
        raise UserError(
            f"the comment line speaks of another unit than Å ({found[0].strip()!r}); convert the "
            "coordinates to Å, or remove the words where they are in Å"
        )
    fractional = _FRACTIONAL.search(comment)
    if fractional:
        raise UserError(
            f"the comment line speaks of {fractional[0]!r} coordinates, which XYZ does not have; "
            "write Cartesian coordinates in Å"
        )
    if _CELL_LENGTHS.search(comment) and "Lattice=" not in comment:
        raise UserError(
            "the comment line has a cell as a, b and c, which is not read; write "
            'Lattice="ax ay az bx by bz cx cy cz" in Å'
        )


def refuse_other_columns(rows: Sequence[str]) -> None:
    """Raise UserError for plain rows with Gaussian's freeze flags before the coordinates."""
    words = [row.split() for row in rows]
    if words and all(
        len(row) > 4 and row[1] in _FLAGS and all("." in word for word in row[2:5]) for row in words
    ):
        raise UserError(
            "the second column seems to hold flags of frozen atoms, as in Gaussian's input; "
            "remove it: rows are SYMBOL X Y Z"
        )


def json_info(comment: str) -> dict[str, Any] | None:
    """Return what a comment line holds that is one object of JSON; None where it is none."""
    if not comment.startswith("{"):
        return None
    try:
        found = json.loads(comment)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def charged_name(comment: str, numbers: np.ndarray) -> str:
    """Return the SMILES or formula of an ion in a comment, or nothing.

    numbers: (N,), the elements, which a formula must have.
    """
    found = list(_CHARGED_SMILES.finditer(comment))
    if sum(int(f"{match[1]}{match[2] or 1}") for match in found):
        return found[0][0]
    return next((word for word in comment.split() if _is_ion(word, numbers)), "")


def _is_ion(word: str, numbers: np.ndarray) -> bool:
    """Tell whether a word is the formula of some elements with a charge behind it."""
    if not _CHARGED_FORMULA.fullmatch(word):
        return False
    symbols, counts = np.unique([chemical_symbols[z] for z in numbers], return_counts=True)
    wanted = dict(zip(symbols.tolist(), counts.tolist(), strict=True))
    # The digit before a sign, or behind it, may be that of the charge.
    bare = re.sub(r"[+-]\d?$", "", word)
    readings = (bare, re.sub(r"\^?\d$", "", bare))
    return any(_count(text) == wanted for text in readings)


def _count(text: str) -> dict[str, int]:
    try:
        return dict(Formula(text).count())
    except ValueError:
        return {}
