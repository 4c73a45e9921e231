"""What a file of structures holds, without being told what to look for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ase

from molequi.datasets.contacts import refuse_coincident
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.formats.database_units import stated_units
from molequi.datasets.formats.label_checks import readings
from molequi.datasets.formats.labels import VIRIALS, find_labels
from molequi.datasets.formats.unit_checks import suspicious_units
from molequi.datasets.formats.values import present_keys
from molequi.datasets.outliers import outliers
from molequi.datasets.report import Label, LabelReport
from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property
from molequi.structures.readers import records


def inspect_frames(path: str | Path, rows: Iterable[Property] = PROPERTIES.values()) -> LabelReport:
    """Report the labels of `rows` that a file has, without being told what to look for."""
    rows = list(rows)
    return report_everything(
        _read(path).structures, str(path), rows, units=stated_units(path, rows)
    )


def inspect_in_full(path: str | Path) -> LabelReport:
    """Report the labels of the property table that a file has.

    The warnings name what cannot be read, and what a training would refuse or doubt.
    """
    structures, damaged = _read(path)
    units = stated_units(path, list(PROPERTIES.values()))
    report = report_everything(structures, str(path), units=units)
    found = {label.name for label in report.rows}
    doubts = readings(structures)
    doubts += _doubts(structures, [row for row in PROPERTIES.values() if row.name in found], units)
    if damaged:
        doubts = [f"{len(damaged)} structures cannot be read; the first: {damaged[0]}", *doubts]
    return dataclasses.replace(report, warnings=tuple(dict.fromkeys((*report.warnings, *doubts))))


class _Read(NamedTuple):
    """The structures of a file, and what is wrong with the others."""

    structures: list[ase.Atoms]
    damaged: list[str]


def _read(path: str | Path) -> _Read:
    """Read a file. Raises UserError where nothing in it can be read."""
    found = _Read([], [])
    for index, item in enumerate(records(path)):
        if isinstance(item, str):
            found.damaged.append(f"structure {index}: {item}")
        else:
            found.structures.append(item)
    if not found.structures:
        first = f"; {found.damaged[0]}" if found.damaged else ""
        raise UserError(f"{path} holds no structure that can be read{first}")
    return found


def report_everything(
    structures: Sequence[ase.Atoms],
    where: str,
    rows: Iterable[Property] = PROPERTIES.values(),
    *,
    units: Mapping[str, str] | None = None,
) -> LabelReport:
    """Report the labels of `rows` that structures carry; `where` names them in messages.

    units: of a row, where the file states another than the table's.
    """
    present = present_keys(structures)
    labels: list[Label] = []
    warnings: list[str] = []
    unusable: dict[str, str] = {}
    for row in _plausible_rows(present, rows):
        try:
            own = {name: unit for name, unit in (units or {}).items() if name == row.name}
            report = find_labels(structures, [row], units=own, where=where).report
        except UserError as error:
            warnings.append(str(error))
            unusable[row.name] = str(error)
        else:
            labels += report.rows
            warnings += report.warnings
    return LabelReport(tuple(labels), tuple(warnings), len(structures), present, unusable)


def _plausible_rows(
    present: Mapping[str, Mapping[str, int]], candidates: Iterable[Property]
) -> list[Property]:
    """Return the rows of which some name stands in the file; of two that share a name the first."""
    names = {str(key).lower() for keys in present.values() for key in keys}
    rows: list[Property] = []
    taken: set[str] = set()
    for row in candidates:
        known = {row.name.lower(), *row.aliases} | (VIRIALS if row.name == "stress" else set())
        mine = (names & known) - taken
        if mine:
            rows.append(row)
            taken |= mine
    return rows


def _doubts(
    structures: Sequence[ase.Atoms], rows: Sequence[Property], units: Mapping[str, str]
) -> list[str]:
    """Return a line for each thing that a training on these structures would refuse or doubt."""
    try:
        values, _ = find_labels(structures, rows, units=units, where="the file")
        frames = frames_from_atoms(
            structures,
            targets=values,
            properties={row.name: row for row in rows},
            source=[f"structure {index}" for index in range(len(structures))],
        )
        lines = [*outliers(frames), *suspicious_units(frames, units_given=units)]
    except UserError as error:
        return [str(error)]
    try:
        refuse_coincident(frames)
    except UserError as error:
        return [str(error), *lines]
    return lines
