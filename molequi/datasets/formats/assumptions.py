"""What a column of a table is taken for where nobody has declared it: a number, or yes and no."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from molequi.datasets.formats.heading_units import unit_in, without_unit
from molequi.datasets.formats.values import is_word
from molequi.errors import UserError
from molequi.structures.csv_files import column_names, open_table, table_reader
from molequi.structures.formats import UNREADABLE, format_of, open_binary
from molequi.structures.text import is_missing, text_lines

_FIELD = re.compile(r"^>.*<([^>]+)>")
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
_SHOWN = 3


class Assumption(NamedTuple):
    """What a target is taken for.

    name: an identifier. declaration: fields of a property's declaration. text: what follows the
    name in a line for people.
    """

    name: str
    declaration: dict[str, Any]
    text: str


def has_columns(path: Path) -> bool:
    """Tell whether a file is a table, whose columns `assume` can look at."""
    return path.is_file() and format_of(path) in {"table", "sdf"}


def assume(path: Path, wanted: Sequence[str]) -> list[Assumption]:
    """Look at the columns of a CSV, TSV or SDF file that are called `wanted`.

    A column of 0 and 1, or of words such as yes and no, is a yes/no label; other numbers are
    numbers, with the unit in the heading's brackets. A name that is no identifier becomes one.
    Raises UserError for a column that is not there, or holds other text.
    """
    columns = _columns(path)
    return [_assumption(path, name, _find(path, name, columns), columns) for name in wanted]


def _assumption(
    path: Path, name: str, column: str, columns: Mapping[str, Sequence[str]]
) -> Assumption:
    cells = [cell.strip() for cell in columns[column] if not is_missing(cell)]
    is_binary = _is_binary(cells)
    if not is_binary:
        _require_numbers(path, column, cells)
    unit = "1" if is_binary else unit_in(column) or "1"
    identifier = identifier_of(name)
    declaration: dict[str, Any] = {"unit": unit, "binary": is_binary}
    if column.strip().lower() != identifier.lower():
        declaration["aliases"] = [column.strip().lower()]
    kind = "yes or no" if is_binary else "a number without unit" if unit == "1" else f"in {unit}"
    source = "" if column == identifier else f"(column {column!r}) "
    return Assumption(identifier, declaration, source + kind)


def _find(path: Path, name: str, columns: Mapping[str, Sequence[str]]) -> str:
    """Return the column of that name: as it stands, in other case, or without the unit."""
    wanted = name.strip().lower()
    for plain in (str.strip, without_unit, identifier_of):
        for column in columns:
            if plain(column).lower() == wanted:
                return column
    raise UserError(
        f"{path} has no column {name!r}; choose with data.targets=COLUMN[,COLUMN]; its columns are "
        f"{', '.join(columns)}"
    )


def identifier_of(name: str) -> str:
    """Return the name that a target has whose column is called `name`: without a unit, a word."""
    plain = re.sub(r"\W+", "_", without_unit(name), flags=re.ASCII).strip("_")
    return f"_{plain}" if plain[:1].isdigit() or not plain else plain


def _is_binary(cells: Sequence[str]) -> bool:
    distinct = {cell.lower() for cell in cells}
    if distinct and all(map(is_word, distinct)):
        return len(distinct) > 1 or not any(map(_is_number, distinct))
    return all(map(_is_number, distinct)) and {float(cell) for cell in distinct} == {0.0, 1.0}


def _require_numbers(path: Path, column: str, cells: Sequence[str]) -> None:
    """Refuse a column of text. Single cells that are no numbers cost their own line alone."""
    if not cells:
        raise UserError(f"{path}: the column {column!r} is empty, so nothing can be learned of it")
    texts = [cell for cell in cells if not _is_number(cell)]
    if 2 * len(texts) > len(cells):
        shown = ", ".join(map(repr, list(dict.fromkeys(texts))[:_SHOWN]))
        if all(map(_DECIMAL_COMMA.fullmatch, texts)):
            raise UserError(
                f"{path}: the column {column!r} has decimal commas ({shown}); write points, as in "
                f"{texts[0].replace(',', '.')}"
            )
        raise UserError(
            f"{path}: the column {column!r} holds text ({shown}); a target is numbers, or 0 and 1 "
            "(yes and no, true and false) for a label"
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def headings(path: Path) -> list[str]:
    """Return the names of the columns of a table, or of the fields of an SDF; none of others."""
    return list(_columns(path)) if has_columns(path) else []


def _columns(path: Path) -> dict[str, list[str]]:
    """Return the cells of each column."""
    columns: dict[str, list[str]] = {}
    try:
        for line in _sdf_lines(path) if format_of(path) == "sdf" else _csv_lines(path, columns):
            for name, cell in line.items():
                columns.setdefault(name, []).append(cell)
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as text ({error})") from error
    return columns


def _csv_lines(path: Path, columns: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    with open_table(path) as handle:
        reader = table_reader(handle, path)
        columns.update({name: [] for name in column_names(reader, path) if name})
        for line in reader:
            yield {name: cell or "" for name, cell in line.items() if name}


def _sdf_lines(path: Path) -> Iterator[dict[str, str]]:
    """Yield the data fields one at a time, without reading the molecules."""
    name = ""
    with open_binary(path) as handle:
        for line in text_lines(handle):
            if name:
                yield {name: line.strip()}
            found = None if name else _FIELD.match(line)
            name = found[1] if found else ""
