"""CSV and TSV files, compressed or not, whatever their delimiter."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase
from rdkit import Chem, rdBase

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.formats import UNREADABLE, open_binary, suffix_of
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.text import decode

_SMILES_NAMES = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "smile", "smiles_string")
_NAMES = ("name", "compound_name", "molecule_name", "title", "id", "compound_id", "cid", "mol_id")
_MISSING = {"", "nan", "na", "n/a", "none", "null", "-"}
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
    """The column with SMILES; is_guess: by what stands in it, as no column has such a name."""

    name: str
    is_guess: bool

    def note(self) -> str:
        """Say where the SMILES come from, where nobody said so."""
        return f"SMILES from the column {self.name!r}, by its content" if self.is_guess else ""


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


def find_smiles_column(
    path: Path, columns: Sequence[str], wanted: str | None = None
) -> SmilesColumn:
    """Return the column with SMILES: the one called `wanted`, by its usual name, or by its content.

    Raises UserError that lists the columns.
    """
    if wanted is not None:
        for name in sorted(columns, key=lambda name: name != wanted):
            if name.strip().lower() == wanted.strip().lower():
                return SmilesColumn(name, is_guess=False)
        raise UserError(
            f"{path} has no column {wanted!r} for SMILES; its columns are {', '.join(columns)}"
        )
    named = [name for name in columns if name.strip().lower() in _SMILES_NAMES]
    named += [name for name in columns if "smiles" in name.lower()]
    named += [name for name in columns if name.strip().lower() == "inchi"]
    if named:
        return SmilesColumn(named[0], is_guess=False)
    guess = _column_of_smiles(path, columns)
    if guess is None:
        raise UserError(
            f"{path}: no column is named smiles; name it with data.smiles=COLUMN; the columns are "
            f"{', '.join(columns)}"
        )
    return SmilesColumn(guess, is_guess=True)


def smiles_column(path: Path, columns: Sequence[str], wanted: str | None) -> str:
    """Return the name of the column with SMILES; see `find_smiles_column`."""
    return find_smiles_column(path, columns, wanted).name


def _column_of_smiles(path: Path, columns: Sequence[str]) -> str | None:
    """Return the column whose first cells are SMILES, of several the one with the longest."""
    with open_table(path) as handle:
        lines = list(itertools.islice(table_reader(handle, path), _SAMPLE))
    lengths: dict[str, int] = {}
    for name in columns:
        cells = [cell.strip() for line in lines if (cell := line.get(name)) and cell.strip()]
        n_smiles = sum(map(_is_smiles, cells))
        if n_smiles > _ENOUGH * len(cells):
            lengths[name] = sum(map(len, cells))
    return max(lengths, key=lambda name: lengths[name]) if lengths else None


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
        reader = table_reader(handle, path)
        column = find_smiles_column(path, column_names(reader, path), wanted)
        for line in reader:
            # csv puts surplus cells under None, and None into cells that are missing.
            cells = {name: cell or "" for name, cell in line.items() if name is not None}
            yield Line(reader.line_num, cells, cells[column.name].strip(), column.note())


def present_cells(cells: Mapping[str, str]) -> dict[str, str]:
    """Return the cells that hold something, without those beyond the last column."""
    return {name: cell for name, cell in cells.items() if name and not is_missing(cell)}


def is_missing(cell: object) -> bool:
    """Tell whether a cell says nothing, such as `n/a`."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def name_in(cells: Mapping[str, str]) -> str | None:
    """Return what a line calls its molecule, if anything."""
    names = {column.strip().lower(): cell.strip() for column, cell in cells.items()}
    return next((names[name] for name in _NAMES if names.get(name)), None)


def table_structures(path: Path, seed: int) -> Iterator[ase.Atoms | str]:
    """Yield a conformer of each line of a table, or the text of what is wrong with it."""
    for line in table_lines(path):
        try:
            atoms = atoms_from_smiles(line.smiles, seed)
        except UserError as error:
            yield f"line {line.number}: {error}"
        else:
            atoms.info = {**present_cells(line.cells), **line.about(), **atoms.info}
            yield atoms
