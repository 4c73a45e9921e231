"""Units in the headings of columns, such as `gap [Ha]` or `Tm (K)`."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from molequi.datasets.formats.target_cells import target_names
from molequi.datasets.formats.units import conversion_factor, is_unit
from molequi.errors import UserError
from molequi.properties import Property

_LOG = logging.getLogger(__name__)
# Brackets at the end, with at most one pair within.
_SQUARE = re.compile(r"\s*\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\s*$")
_ROUND = re.compile(r"\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)\s*$")
_WORD = re.compile(r"[^\s()]{1,12}")


def without_unit(heading: str) -> str:
    """Return the name in a heading."""
    brackets = _brackets(heading)
    return (heading[: brackets.start()] if brackets else heading).strip()


def unit_in(heading: str) -> str | None:
    """Return what stands in brackets behind the name, if anything.

    In round ones that is a word, or a unit of several.
    """
    brackets = _brackets(heading)
    return brackets[1].strip() if brackets else None


def _brackets(heading: str) -> re.Match[str] | None:
    square = _SQUARE.search(heading)
    if square:
        return square if square[1].strip() else None
    found = _ROUND.search(heading)
    return found if found and (_WORD.fullmatch(found[1]) or is_unit(found[1])) else None


class Headed(NamedTuple):
    """Columns of targets by their names, and units: `keys` and `units` of a request.

    unusable: of targets whose columns are in a unit that they cannot have, why.
    """

    keys: dict[str, str]
    units: dict[str, str]
    unusable: dict[str, str]


def settle_headings(
    where: str, columns: Sequence[str], targets: Sequence[Property], keys: Mapping[str, str],
    units: Mapping[str, str], *, is_strict: bool = True,
) -> Headed:  # fmt: skip
    """Take the headings of columns at their word.

    A column `gap [Ha]` holds the target gap where none is called just so, in the unit of its
    brackets where none is given; where: the file. Raises UserError for square brackets that hold
    no unit of the target, and round ones with a unit of something else; without is_strict that is
    no column of the target. Round brackets without any unit say nothing, which is logged.
    """
    found = Headed(dict(keys), dict(units), {})
    for row in targets:
        column = _column_of(row, columns, keys)
        if column is None:
            continue
        if column.strip().lower() not in target_names(row, keys):
            found.keys[row.name] = column
        unit = None if row.name in units else _unit_said(column, row)
        if unit is None:
            continue
        fault = _fault(unit, row)
        if fault is None:
            found.units[row.name] = unit
        elif _must_be_unit(column, unit):
            line = f"{where}: the column {column!r}: {fault}; or say data.units.{row.name}=UNIT"
            if is_strict:
                raise UserError(line)
            found.keys.pop(row.name, None)
            found.unusable[row.name] = line
        elif is_strict:
            _LOG.info(
                "%s: the column %r is taken to be in %s, as %r is no unit; data.units.%s=UNIT "
                "says otherwise", where, column, row.unit, unit, row.name,
            )  # fmt: skip
    return found


def _unit_said(column: str, row: Property) -> str | None:
    """Return the unit in a heading, of a row that has one."""
    return None if row.binary or row.unit == "1" else unit_in(column)


def _must_be_unit(column: str, unit: str) -> bool:
    """Tell whether brackets hold a unit, known or not; in round ones may stand anything."""
    return _SQUARE.search(column) is not None or is_unit(unit)


def _fault(unit: str, row: Property) -> str | None:
    """Say why numbers in a unit cannot be those of a row."""
    try:
        conversion_factor(unit, row.unit)
    except UserError as error:
        if is_unit(row.unit):
            return str(error)
        return f"nothing is known to convert {unit!r} to {row.unit!r}; convert the numbers"
    return None


def _column_of(row: Property, columns: Sequence[str], keys: Mapping[str, str]) -> str | None:
    """Return the column of a target: of its name as it stands, or else without the unit."""
    names = target_names(row, keys)
    for plain in (str.strip, without_unit):
        for column in columns:
            if plain(column).lower() in names:
                return column
    return None
