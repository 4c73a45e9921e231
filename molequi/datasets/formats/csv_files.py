"""CSV and TSV files, compressed or not, whatever their delimiter."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.formats import open_binary, suffix_of
from molequi.structures.text import decode

_SMILES_NAMES = ("smiles", "canonical_smiles", "smi")


def open_table(path: Path) -> io.StringIO:
    """Open a text file, compressed or not, in any encoding that `text.decode` knows.

    A damaged file raises one of `formats.UNREADABLE`.
    """
    with open_binary(path) as handle:
        return io.StringIO(decode(handle.read()), newline="")


def table_reader(handle: io.StringIO, path: Path) -> csv.DictReader[str]:
    """Read the lines of a CSV or TSV file as dicts.

    The delimiter is the likeliest of comma, semicolon, tab and bar in the first line, else the
    space; the line `sep=;` of a spreadsheet names it.
    """
    first = handle.readline()
    if first.lower().startswith("sep=") and len(first.strip("\n")) == 5:
        delimiter = first[4]
    else:
        handle.seek(0)
        likeliest = max(",;\t|", key=first.count)
        delimiter = likeliest if likeliest in first else " "
    if suffix_of(path) == ".tsv":
        delimiter = "\t"
    return _Table(path, handle, delimiter=delimiter, skipinitialspace=True)


class _Table(csv.DictReader):
    """Lines as dicts; what is no table raises UserError, such as a cell of 131,072 letters."""

    def __init__(self, path: Path, *arguments: Any, **options: Any) -> None:
        self._path = path
        super().__init__(*arguments, **options)

    def __next__(self) -> dict[str, str]:
        with reading(self._path, "table"):
            return super().__next__()


def column_names(reader: csv.DictReader[str], path: Path) -> list[str]:
    """Return the names of the columns.

    Raises UserError for one that stands twice, as nobody could tell which is meant.
    """
    with reading(path, "table"):
        names = [name for name in reader.fieldnames or () if name is not None]
    counts = Counter(name.strip() for name in names)
    twice = [name for name, count in counts.items() if name and count > 1]
    if twice:
        raise UserError(
            f"{path} has more than one column named {', '.join(map(repr, twice))}; give each its "
            "own name"
        )
    return names


def smiles_column(path: Path, columns: Sequence[str], wanted: str | None) -> str:
    """Return the name of the column with SMILES. Raises UserError that lists the columns."""
    if wanted is not None:
        if wanted not in columns:
            raise UserError(
                f"{path} has no column {wanted!r} for SMILES; its columns are {', '.join(columns)}"
            )
        return wanted
    for name in columns:
        if name.strip().lower() in _SMILES_NAMES:
            return name
    raise UserError(
        f"{path}: no column is named smiles; name it with data.smiles=COLUMN; the columns are "
        f"{', '.join(columns)}"
    )
