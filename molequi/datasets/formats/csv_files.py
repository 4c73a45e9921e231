"""CSV and TSV files, compressed or not, whatever their delimiter."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path

from molequi.errors import UserError
from molequi.structures.formats import open_binary, suffix_of
from molequi.structures.text import decode

_SMILES_NAMES = ("smiles", "canonical_smiles", "smi")


def open_table(path: Path) -> io.TextIOBase:
    """Open a text file, compressed or not, in any encoding that `text.decode` knows.

    Raises UserError for a damaged compressed file.
    """
    try:
        with open_binary(path) as handle:
            return io.StringIO(decode(handle.read()), newline="")
    except (EOFError, zlib.error, LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"{path} cannot be read ({error})") from error


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
