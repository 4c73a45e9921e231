"""CSV and TSV files, compressed or not, whatever their delimiter."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

from molequi.errors import UserError
from molequi.structures.formats import suffix_of

_SMILES_NAMES = ("smiles", "canonical_smiles", "smi")


def open_table(path: Path) -> io.TextIOBase:
    """Open a text file, compressed or not."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def table_reader(handle: io.TextIOBase, path: Path) -> csv.DictReader[str]:
    """Read the lines of a CSV or TSV file as dicts.

    The delimiter is guessed from the first line.
    """
    first = handle.readline()
    handle.seek(0)
    delimiter = "\t" if suffix_of(path) == ".tsv" else max(",;\t", key=first.count)
    return csv.DictReader(handle, delimiter=delimiter, skipinitialspace=True)


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
