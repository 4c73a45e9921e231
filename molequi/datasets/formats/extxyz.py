"""Labelled structures from any file that ASE reads."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import ase
import torch

from molequi.datasets.formats.labels import Label, LabelReport, find_labels, present_keys
from molequi.datasets.formats.unit_checks import suspicious_units
from molequi.datasets.in_memory import Frames, frames_from_atoms
from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property, get_property
from molequi.structures.atoms import CHARGE_KEYS
from molequi.structures.readers import records

_LOG = logging.getLogger(__name__)
# A target that none of so many first frames has is not in the file; reading on would only delay the
# error.
_FRAMES_BEFORE_GIVING_UP = 1000


def read_frames(
    path: str | Path,
    *,
    targets: Sequence[str | Property],
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
) -> tuple[Frames, LabelReport]:
    """Read structures with the labels `targets` (names of the table, or rows).

    The numbers come in the units of the table.

    keys: target -> its name in the file. units: target -> its unit in the file.
    Raises UserError for a damaged frame, or a target that the file does not have, naming the keys
    that are there.
    """
    rows = [get_property(target) if isinstance(target, str) else target for target in targets]
    structures: list[ase.Atoms] = []
    for index, item in enumerate(records(path)):
        if isinstance(item, str):
            raise UserError(f"{path}, frame {index}: {item}")
        structures.append(item)
        if len(structures) == _FRAMES_BEFORE_GIVING_UP:
            find_labels(structures, rows, keys=keys, units=units, where=f"{path}, first frames")
    if not structures:
        raise UserError(f"{path} holds no structures")
    values, report = find_labels(structures, rows, keys=keys, units=units, where=str(path))
    name = Path(path).name
    frames = frames_from_atoms(
        structures,
        targets=values,
        properties={row.name: row for row in rows},
        source=[f"{name}:{index}" for index in range(len(structures))],
    )
    warnings = (*report.warnings, *suspicious_units(frames, units_given=units))
    report = dataclasses.replace(
        report, rows=(*report.rows, *_charge_row(report, frames)), warnings=warnings
    )
    for warning in report.warnings:
        _LOG.warning("%s: %s", path, warning)
    return frames, report


def inspect_frames(path: str | Path) -> LabelReport:
    """Report every label of the property table that a file has, without being told what to look for."""
    structures = [item for item in records(path) if not isinstance(item, str)]
    if not structures:
        raise UserError(f"{path} holds no structure that can be read")
    return report_everything(structures, str(path))


def report_everything(structures: Sequence[ase.Atoms], where: str) -> LabelReport:
    """Report the labels of the property table that structures carry.

    `where` names them in messages.
    """
    present = present_keys(structures)
    rows, warnings = [], []
    for row in _plausible_rows(present):
        try:
            _, report = find_labels(structures, [row], where=where)
        except UserError as error:
            warnings.append(str(error))
        else:
            rows += report.rows
            warnings += report.warnings
    return LabelReport(tuple(rows), tuple(warnings), len(structures), present)


def _charge_row(report: LabelReport, frames: Frames) -> list[Label]:
    """Say which total charges were read; silence would hide a charge under an unexpected key."""
    charges = frames.total_charge.to(torch.float64)
    numbers = float(charges.min()), float(charges.mean()), float(charges.max())
    keys = [
        (key, count)
        for key, count in report.keys["info"].items()
        if str(key).lower() in CHARGE_KEYS
    ]
    if keys:
        return [Label("total_charge", keys[0][0], "info", keys[0][1], "e", *numbers)]
    return (
        [Label("total_charge", "initial_charges", "arrays", len(frames), "e", *numbers)]
        if frames.total_charge.any()
        else []
    )


def _plausible_rows(present: Mapping[str, Mapping[str, int]]) -> list[Property]:
    """Rows of the table of which some name stands in the file.

    Of two that share a name the first.
    """
    names = {str(key).lower() for keys in present.values() for key in keys}
    rows, taken = [], set()
    for row in PROPERTIES.values():
        mine = (names & {row.name, *row.aliases}) - taken
        if mine:
            rows.append(row)
            taken |= mine
    return rows
