"""Units in the headings of columns, such as `gap [Ha]` or `Tm (K)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from molequi.datasets.formats.target_cells import target_names
from molequi.datasets.formats.units import conversion_factor, is_unit
from molequi.errors import UserError
from molequi.properties import Property

_UNIT = re.compile(r"\s*(?:\[([^\]]+)\]|\(([^\s()]{1,12})\))\s*$")


def without_unit(heading: str) -> str:
    """Return the name in a heading."""
    return _UNIT.sub("", heading).strip()


def unit_in(heading: str) -> str | None:
    """Return what stands in brackets behind the name, if anything."""
    found = _UNIT.search(heading)
    return (found[1] or found[2]).strip() if found else None


class Headed(NamedTuple):
    """Columns of targets by their names, and units: `keys` and `units` of a request."""

    keys: dict[str, str]
    units: dict[str, str]


def settle_headings(
    where: str, columns: Sequence[str], targets: Sequence[Property], keys: Mapping[str, str],
    units: Mapping[str, str], *, is_strict: bool = True,
) -> Headed:  # fmt: skip
    """Take the headings of columns at their word.

    A column `gap [Ha]` holds the target gap where none is called just so, in the unit of its
    brackets where none is given. Raises UserError for square brackets with a unit of something
    else, which without is_strict is no column of the target; where: the file. Words in brackets
    that are no unit say nothing.
    """
    found = Headed(dict(keys), dict(units))
    for row in targets:
        column = _column_of(row, columns, keys)
        if column is None:
            continue
        if column.strip().lower() not in target_names(row, keys):
            found.keys[row.name] = column
        unit = unit_in(column)
        if unit is None or row.name in units or not _tells(unit, row):
            continue
        fault = _fault(unit, row)
        if fault is None:
            found.units[row.name] = unit
        elif is_strict and "[" in column:
            raise UserError(
                f"{where}: the column {column!r}: {fault}, or say data.units.{row.name}=UNIT"
            )
        else:
            found.keys.pop(row.name, None)
    return found


def _fault(unit: str, row: Property) -> str | None:
    """Say why numbers in a unit cannot be those of a row."""
    try:
        conversion_factor(unit, row.unit)
    except UserError as error:
        return str(error)
    return None


def _tells(unit: str, row: Property) -> bool:
    """Tell whether words in brackets are a unit, of a row that has one."""
    return not row.binary and is_unit(unit) and is_unit(row.unit)


def _column_of(row: Property, columns: Sequence[str], keys: Mapping[str, str]) -> str | None:
    """Return the column of a target: of its name as it stands, or else without the unit."""
    names = target_names(row, keys)
    for plain in (str.strip, without_unit):
        for column in columns:
            if plain(column).lower() in names:
                return column
    return None
