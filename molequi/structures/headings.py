"""What the heading of a table says: its delimiter, the column with SMILES, that with names."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

_SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "smile", "smiles_string")
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


def named_smiles(columns: Sequence[str]) -> str | None:
    """Return the column that is called like one with SMILES, or else with InChI; None for none."""
    plain = {name: name.strip().lower() for name in columns}
    named = [name for name in columns if plain[name] in _SMILES_NAMES]
    named += [name for name in columns if "smiles" in plain[name]]
    named += [name for name in columns if "inchi" in plain[name] and "key" not in plain[name]]
    return named[0] if named else None


def is_heading(text: str) -> bool:
    """Tell whether a text is a table: its first line names a column with SMILES or InChI."""
    first, _, rest = text.partition("\n")
    if names_delimiter(first):
        return True
    if first.startswith("InChI="):
        return False
    cells = next(csv.reader([first], delimiter=delimiter_of(first), skipinitialspace=True), [])
    return bool(rest.strip()) and named_smiles(cells) is not None


def name_in(cells: Mapping[str, str]) -> str | None:
    """Return what a line calls its molecule, if anything."""
    names = {column.strip().lower(): cell.strip() for column, cell in cells.items()}
    return next((names[name] for name in _NAMES if names.get(name)), None)
