"""CSV and TSV files, compressed or not, whatever their delimiter; spreadsheets as such."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase
from rdkit import Chem, rdBase

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.formats import UNREADABLE, open_binary, suffix_of
from molequi.structures.headings import delimiter_of, name_in, named_smiles, names_delimiter
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.sheets import is_sheet, sheet_suffix, sheet_text
from molequi.structures.text import decode, is_missing

_DELIMITERS = {".tsv": "\t", ".xlsx": ",", ".xlsm": ",", ".parquet": ","}
# A column without such a name is taken where so many of its first cells are SMILES.
_SAMPLE, _ENOUGH = 100, 0.8


class Line(NamedTuple):
    """A line of a table: its number in the file, its cells by column, and its SMILES.

    note: where these come from, if that is a guess.
    """

    number: int
    cells: dict[str, str]
    smiles: str
    note: str = ""

    def about(self) -> dict[str, object]:
        """Return what the atoms of this line carry in `info`."""
        notes = {"name": name_in(self.cells), "reading": self.note}
        return {key: value for key, value in notes.items() if value}


class SmilesColumn(NamedTuple):
    """The column with SMILES; is_guess: by what stands in it, as no column has such a name.

    others: columns with such a name, or such cells, that are not read.
    """

    name: str
    is_guess: bool = False
    others: tuple[str, ...] = ()

    def note(self) -> str:
        """Say where the SMILES come from, where nobody said so."""
        if not (self.others or self.is_guess):
            return ""
        why = ", by its content" if self.is_guess else ""
        names = ", ".join(map(repr, self.others))
        but = f", and not from {names}" if names else ""
        return f"SMILES from the column {self.name!r}{why}{but}"


def open_table(path: Path) -> io.StringIO:
    """Open a table as text, compressed or not, in any encoding that `text.decode` knows.

    XLSX and Parquet become CSV, see `sheets`. A damaged file raises one of `formats.UNREADABLE`.
    """
    with open_binary(path) as handle:
        return io.StringIO(_text_of(handle.read(), path), newline="")


def _text_of(data: bytes, path: Path) -> str:
    suffix = suffix_of(path) if is_sheet(path) else sheet_suffix(data)
    return sheet_text(data, path, suffix) if suffix else decode(data)


def table_reader(handle: io.StringIO, path: Path) -> csv.DictReader[str]:
    """Read the lines of a CSV or TSV file as dicts.

    The delimiter is that of the file's kind, or told from the first line: see `delimiter_of`.
    """
    first = handle.readline()
    if not names_delimiter(first):
        handle.seek(0)
    delimiter = _DELIMITERS.get(suffix_of(path)) or delimiter_of(first)
    return _Table(path, handle, delimiter=delimiter, skipinitialspace=True)


# What our own tables, and others', put before a text that a spreadsheet would compute.
_APOSTROPHE = re.compile(r"'(?=[=+@\t\r-])")


class _Table(csv.DictReader):
    """Lines as dicts; what is no table raises UserError, such as a cell of 131,072 letters.

    Without the apostrophe that keeps spreadsheets from computing a cell.
    """

    def __init__(self, path: Path, *arguments: Any, **options: Any) -> None:
        self._path = path
        super().__init__(*arguments, **options)

    def __next__(self) -> dict[str, str]:
        with reading(self._path, "table"):
            line = super().__next__()
        return {
            name: cell[1:] if isinstance(cell, str) and _APOSTROPHE.match(cell) else cell
            for name, cell in line.items()
        }


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


def find_smiles_column(
    path: Path, columns: Sequence[str], wanted: str | None = None, text: str | None = None
) -> SmilesColumn:
    """Return the column with SMILES: the one called `wanted`, by its usual name, or by its content.

    text: the table, where it is no file. Raises UserError that lists the columns.
    """
    if wanted is not None:
        for name in sorted(columns, key=lambda name: name != wanted):
            if name.strip().lower() == wanted.strip().lower():
                return SmilesColumn(name)
        raise UserError(
            f"{path} has no column {wanted!r} for SMILES; its columns are {', '.join(columns)}"
        )
    named = named_smiles(columns)
    if named:
        return SmilesColumn(named[0], others=tuple(named[1:]))
    guesses = _columns_of_smiles(path, columns, text)
    if not guesses:
        raise UserError(
            f"{path}: no column is named smiles; give the one with SMILES that heading (a training "
            f"takes data.smiles=COLUMN instead); the columns are {', '.join(columns)}"
        )
    guess, *others = guesses
    if _is_smiles(guess):
        raise UserError(
            f"{path}: the first line seems to be no heading, as {guess!r} is a SMILES; write one "
            "above it, such as name,smiles"
        )
    return SmilesColumn(guess, is_guess=True, others=tuple(others))


def smiles_column(path: Path, columns: Sequence[str], wanted: str | None) -> str:
    """Return the name of the column with SMILES; see `find_smiles_column`."""
    return find_smiles_column(path, columns, wanted).name


def _columns_of_smiles(path: Path, columns: Sequence[str], text: str | None) -> list[str]:
    """Return the columns whose first cells are SMILES, those with the longest first."""
    with open_table(path) if text is None else io.StringIO(text, newline="") as handle:
        lines = list(itertools.islice(table_reader(handle, path), _SAMPLE))
    lengths: dict[str, int] = {}
    for name in columns:
        cells = [cell.strip() for line in lines if (cell := line.get(name)) and cell.strip()]
        n_smiles = sum(map(_is_smiles, cells))
        if n_smiles > _ENOUGH * len(cells):
            lengths[name] = sum(map(len, cells))
    return sorted(lengths, key=lambda name: -lengths[name])


def _is_smiles(text: str) -> bool:
    with rdBase.BlockLogs():
        if text.startswith("InChI="):
            return Chem.MolFromInchi(text) is not None
        return any(map(str.isalpha, text)) and Chem.MolFromSmiles(text) is not None


def table_lines(path: Path, wanted: str | None = None) -> Iterator[Line]:
    """Yield the lines of a table; `wanted` is the name of its column with SMILES.

    Raises UserError for a file that is no table, or has no such column.
    """
    try:
        handle = open_table(path)
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as text ({error})") from error
    with handle:
        yield from _lines(handle.getvalue(), path, wanted)


def piped_lines(data: bytes) -> Iterator[Line]:
    """Yield the lines of a table that came by standard input; see `table_lines`."""
    path = Path("standard input")
    return _lines(_text_of(data, path), path, None)


def _lines(text: str, path: Path, wanted: str | None) -> Iterator[Line]:
    reader = table_reader(io.StringIO(text, newline=""), path)
    column = find_smiles_column(path, column_names(reader, path), wanted, text)
    for line in reader:
        # csv puts surplus cells under None, and None into cells that are missing.
        cells = {name: cell or "" for name, cell in line.items() if name is not None}
        yield Line(reader.line_num, cells, cells[column.name].strip(), column.note())


def present_cells(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells that hold something, without those beyond the last column."""
    return {name: cell for name, cell in cells.items() if name and not is_missing(cell)}


def table_structures(lines: Iterable[Line], seed: int) -> Iterator[ase.Atoms | str]:
    """Yield a conformer of each line of a table, or the text of what is wrong with it."""
    for line in lines:
        try:
            atoms = atoms_from_smiles(line.smiles, seed)
        except UserError as error:
            yield f"line {line.number}: {error}"
        else:
            atoms.info = {**present_cells(line.cells), **line.about(), **atoms.info}
            yield atoms
