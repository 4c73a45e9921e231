"""What the heading of a table says: its delimiter, the column with SMILES, that with names."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

_SMILES_NAMES = ("smiles", "smi", "smile", "smiles_string", "canonical_smiles")
_NAMES = ("name", "compound_name", "molecule_name", "title", "id", "compound_id", "cid", "mol_id")


def delimiter_of(first: str) -> str:
    """Return the likeliest of comma, semicolon, tab and bar in a first line, else the space.

    The line `sep=;` of a spreadsheet names it.
    """
    if names_delimiter(first):
        return first[4]
    likeliest = max(",;\t|", key=first.count)
    return likeliest if likeliest in first else " "


def names_delimiter(first: str) -> bool:
    """Tell whether a first line is no heading, but `sep=` and the delimiter."""
    return first.lower().startswith("sep=") and len(first.strip("\n")) == 5


def named_smiles(columns: Sequence[str]) -> list[str]:
    """Return the columns that are called like SMILES, or else like InChI, the best first.

    Isomeric SMILES tell hands and double bonds, which canonical ones may leave out.
    """
    plain = {name: name.strip().lower() for name in columns}

    def place(name: str) -> int:
        if "iso" in plain[name] and "non" not in plain[name]:
            return -1
        usual = plain[name] in _SMILES_NAMES
        return _SMILES_NAMES.index(plain[name]) if usual else len(_SMILES_NAMES)

    named = [name for name in columns if plain[name] in _SMILES_NAMES or "smiles" in plain[name]]
    inchi = [name for name in columns if "inchi" in plain[name] and "key" not in plain[name]]
    return sorted(named, key=place) or inchi


def is_smiles_heading(word: str) -> bool:
    """Tell whether a word above a list of SMILES or InChI is its heading, and none of them."""
    return "smiles" in word.lower() or word.lower() in (*_SMILES_NAMES, "inchi")


def is_heading(text: str) -> bool:
    """Tell whether a text is a table: its first line names a column with SMILES or InChI."""
    first, _, rest = text.partition("\n")
    if names_delimiter(first):
        return True
    if first.startswith("InChI="):
        return False
    cells = next(csv.reader([first], delimiter=delimiter_of(first), skipinitialspace=True), [])
    return bool(rest.strip() and named_smiles(cells))


def name_in(cells: Mapping[str, str]) -> str | None:
    """Return what a line calls its molecule, if anything."""
    names = {column.strip().lower(): cell.strip() for column, cell in cells.items()}
    return next((names[name] for name in _NAMES if names.get(name)), None)
