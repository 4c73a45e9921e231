"""Labelled structures from any file that ASE reads."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import ase
import torch

from molequi.datasets.base import DatasetSpec, FileReport, Request
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.formats.assumptions import headings
from molequi.datasets.formats.database_units import stated_units
from molequi.datasets.formats.heading_units import settle_headings
from molequi.datasets.formats.inspection import inspect_frames, inspect_in_full
from molequi.datasets.formats.label_checks import gaps, readings
from molequi.datasets.formats.labels import find_labels
from molequi.datasets.formats.target_cells import join_components
from molequi.datasets.formats.unit_checks import suspicious_units
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import join_frames
from molequi.datasets.report import Label, LabelReport, describe_frames, make_label
from molequi.errors import UserError
from molequi.properties import Property, get_property
from molequi.structures.electrons import is_charge_key
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
    add_hydrogens: bool = False,
    is_whole: bool = True,
) -> LabelledSet:
    """Read structures with the labels `targets` (names of the table, or rows).

    The numbers come in the units of the table.

    keys: target -> its name in the file. units: target -> its unit in the file, that which the file
    itself states, in the headings of an SDF too, or else the table's. add_hydrogens: see
    `tables.read_table`. is_whole: see `labels.find_labels`.
    Raises UserError for a damaged frame, or a target that the file does not have, naming the keys
    that are there.
    """
    rows = [get_property(target) if isinstance(target, str) else target for target in targets]
    units = {**stated_units(path, rows, keys), **(units or {})}
    headed = settle_headings(str(path), headings(Path(path)), rows, keys or {}, units)
    keys, units = headed.keys, headed.units
    find = functools.partial(find_labels, targets=rows, keys=keys, units=units, is_whole=is_whole)
    structures = []
    for atoms in _whole_records(path, add_hydrogens=add_hydrogens):
        join_components(atoms, rows, keys)
        structures.append(atoms)
        if is_whole and len(structures) == _FRAMES_BEFORE_GIVING_UP:
            find(structures, where=f"{path}, first frames")
    with _notes_told(path, structures):
        values, report = find(structures, where=str(path))
    source = [f"{Path(path).name}:{index}" for index in range(len(structures))]
    properties = {row.name: row for row in rows}
    frames = frames_from_atoms(structures, targets=values, properties=properties, source=source)
    notes, doubts = readings(structures), suspicious_units(frames, units_given=units)
    warnings = (*notes, *report.warnings, *doubts)
    _warn(path, warnings)
    found = (*report.rows, *_charge_row(report, frames))
    return LabelledSet(frames, dataclasses.replace(report, rows=found, warnings=warnings))


@contextlib.contextmanager
def _notes_told(path: str | Path, structures: Sequence[ase.Atoms]) -> Iterator[None]:
    """Where labels are missing, say what was done in reading, which may be why."""
    try:
        yield
    except UserError:
        _warn(path, readings(structures))
        raise


def _warn(path: str | Path, lines: Sequence[str]) -> None:
    for line in lines:
        _LOG.warning("%s: %s", path, line)


def _whole_records(path: str | Path, *, add_hydrogens: bool) -> Iterator[ase.Atoms]:
    """Yield all structures of a file.

    Raises UserError for a damaged one, and where there is none.
    """
    index = -1
    for index, item in enumerate(records(path, add_hydrogens=add_hydrogens)):
        if isinstance(item, str):
            raise UserError(f"{path}, frame {index}: {item}")
        yield item
    if index < 0:
        raise UserError(f"{path} holds no structures")


def _charge_row(report: LabelReport, frames: Frames) -> list[Label]:
    """Say which total charges were read; silence would hide a charge under an unexpected key."""
    keys = [
        (key, "info", count) for key, count in report.keys["info"].items() if is_charge_key(key)
    ]
    if not keys and frames.total_charge.any():
        keys = [("initial_charges", "arrays", len(frames))]
    charges = frames.total_charge.to(torch.float64)
    return [
        make_label("total_charge", key, where, count, "e", charges)
        for key, where, count in keys[:1]
    ]


class StructureFiles(DatasetSpec):
    """Labelled structures in one file or several, whatever their keys and units."""

    name = "frames"
    description = "labelled structures in any file that ASE reads, as extended XYZ"
    has_free_names = True
    is_own = True

    def recognises(self, path: Path) -> bool:
        """Take what no other kind has recognised; ASE guesses the format."""
        return True

    def read(self, request: Request) -> LabelledSet:
        """Read one file after the other; see `read_frames`.

        What one of several files lacks is missing there. Raises UserError for what all lack.
        """
        files = request.files()
        parts = [_read_part(file, request, is_whole=len(files) == 1) for file in files]
        return parts[0] if len(parts) == 1 else _joined(files, parts)

    def inspect(self, path: Path) -> FileReport:
        """Report every label of the property table, and what is wrong or doubtful."""
        report = inspect_in_full(path)
        return FileReport(str(path), self.name, report.n_frames, report, report.warnings)


def _read_part(file: Path, request: Request, *, is_whole: bool) -> LabelledSet:
    if not request.is_strict:
        request = request.as_found(
            inspect_frames(file, request.targets, keys=request.keys, units=request.units)
        )
    return read_frames(
        file,
        targets=list(request.targets),
        keys=request.keys,
        units=request.units,
        add_hydrogens=request.add_hydrogens,
        is_whole=is_whole,
    )


def _joined(files: Sequence[Path], parts: Sequence[LabelledSet]) -> LabelledSet:
    """Join what was read of several files. Raises UserError for a target that none of them has."""
    frames = join_frames([part.frames for part in parts])
    report = describe_frames(frames, f"{len(parts)} files")
    rows = [row for row in report.rows if row.frames]
    found = [frames.properties[row.name] for row in rows]
    for name, why in collections.ChainMap(*(dict(part.report.unusable) for part in parts)).items():
        if (row := frames.properties[name]) not in found and not row.spread_of:
            raise UserError(why)
    warnings = tuple(
        line
        for file, part in zip(files, parts, strict=True)
        for line in (*part.report.warnings, *_lacks(file, part, found))
    )
    return LabelledSet(frames, dataclasses.replace(report, rows=tuple(rows), warnings=warnings))


def _lacks(file: Path, part: LabelledSet, found: Sequence[Property]) -> list[str]:
    """Warn of the targets that other files have, and return the warnings."""
    own = {row.name for row in part.report.rows}
    lines = [
        line for row in found if row.name not in own for line in gaps(row, {}, len(part), str(file))
    ]
    _warn(file, lines)
    return lines
