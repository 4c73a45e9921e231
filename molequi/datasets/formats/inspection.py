"""What a file of structures holds, without being told what to look for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ase

from molequi.datasets.contacts import refuse_coincident
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.formats.assumptions import headings
from molequi.datasets.formats.database_units import stated_units
from molequi.datasets.formats.heading_units import Headed, settle_headings
from molequi.datasets.formats.label_checks import readings
from molequi.datasets.formats.labels import VIRIALS, find_labels
from molequi.datasets.formats.target_cells import join_components, target_names
from molequi.datasets.formats.unit_checks import suspicious_units
from molequi.datasets.formats.values import present_keys
from molequi.datasets.outliers import outliers
from molequi.datasets.report import Label, LabelReport
from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property
from molequi.structures.readers import records


def inspect_frames(
    path: str | Path,
    rows: Iterable[Property] = PROPERTIES.values(),
    *,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> LabelReport:
    """Report the labels of `rows` that a file has, without being told what to look for.

    keys: target -> another name that its components may have. units: target -> its unit, whatever
    its heading says.
    """
    rows = list(rows)
    structures = _read(path, rows, keys or {}).structures
    return report_everything(structures, str(path), rows, _headed(path, rows, units or {}))


def inspect_in_full(path: str | Path) -> LabelReport:
    """Report the labels of the property table that a file has.

    The warnings name what cannot be read, and what a training would refuse or doubt.
    """
    rows = list(PROPERTIES.values())
    structures, damaged = _read(path, rows, {})
    headed = _headed(path, rows, {})
    report = report_everything(structures, str(path), rows, headed)
    found = {label.name for label in report.rows}
    doubts = readings(structures)
    doubts += _doubts(structures, [row for row in rows if row.name in found], headed)
    if damaged:
        doubts = [f"{len(damaged)} structures cannot be read; the first: {damaged[0]}", *doubts]
    return dataclasses.replace(report, warnings=tuple(dict.fromkeys((*report.warnings, *doubts))))


class _Read(NamedTuple):
    """The structures of a file, and what is wrong with the others."""

    structures: list[ase.Atoms]
    damaged: list[str]


def _headed(path: str | Path, rows: Sequence[Property], units: Mapping[str, str]) -> Headed:
    """Return what a file says of the units of rows: by its headings, or elsewhere."""
    found = settle_headings(str(path), headings(Path(path)), rows, {}, units, is_strict=False)
    return found._replace(units={**stated_units(path, rows), **found.units})


def _read(path: str | Path, rows: Sequence[Property], keys: Mapping[str, str]) -> _Read:
    """Read a file, and join components of rows that are spread over columns.

    Raises UserError where nothing in it can be read.
    """
    found = _Read([], [])
    for index, item in enumerate(records(path)):
        if isinstance(item, str):
            found.damaged.append(f"structure {index}: {item}")
        else:
            found.structures.append(item)
    if not found.structures:
        first = f"; {found.damaged[0]}" if found.damaged else ""
        raise UserError(f"{path} holds no structure that can be read{first}")
    for atoms in found.structures:
        join_components(atoms, rows, keys)
        join_components(atoms, rows, {})
    return found


def report_everything(
    structures: Sequence[ase.Atoms],
    where: str,
    rows: Iterable[Property],
    headed: Headed,
) -> LabelReport:
    """Report the labels of `rows` that structures carry; `where` names them in messages.

    headed: what the file says of their names and units.
    """
    present = present_keys(structures)
    labels: list[Label] = []
    unusable = dict(headed.unusable)
    warnings = list(unusable.values())
    for row in _plausible_rows(present, rows, headed):
        try:
            keys, units, _ = _said(headed, [row])
            report = find_labels(structures, [row], keys=keys, units=units, where=where).report
        except UserError as error:
            warnings.append(str(error))
            unusable[row.name] = str(error)
        else:
            labels += report.rows
            warnings += report.warnings
    return LabelReport(tuple(labels), tuple(warnings), len(structures), present, unusable)


def _said(headed: Headed, rows: Sequence[Property]) -> Headed:
    """Return what is said of some rows alone."""
    names = {row.name for row in rows}
    return Headed(
        *({name: entry for name, entry in said.items() if name in names} for said in headed)
    )


def _plausible_rows(
    present: Mapping[str, Mapping[str, int]], candidates: Iterable[Property], headed: Headed
) -> list[Property]:
    """Return the rows of which some name stands in the file; of two that share a name the first."""
    names = {str(key).strip().lower() for keys in present.values() for key in keys}
    rows: list[Property] = []
    taken: set[str] = set()
    for row in candidates:
        known = target_names(row, headed.keys) | (VIRIALS if row.name == "stress" else set())
        mine = (names & known) - taken
        if mine and row.name not in headed.unusable:
            rows.append(row)
            taken |= mine
    return rows


def _doubts(structures: Sequence[ase.Atoms], rows: Sequence[Property], headed: Headed) -> list[str]:
    """Return a line for each thing that a training on these structures would refuse or doubt."""
    try:
        keys, units, _ = _said(headed, rows)
        values, _ = find_labels(structures, rows, keys=keys, units=units, where="the file")
        frames = frames_from_atoms(
            structures,
            targets=values,
            properties={row.name: row for row in rows},
            source=[f"structure {index}" for index in range(len(structures))],
        )
        lines = [*outliers(frames), *suspicious_units(frames, units_given=headed.units)]
    except UserError as error:
        return [str(error)]
    try:
        refuse_coincident(frames)
    except UserError as error:
        return [str(error), *lines]
    return lines
