"""A chemist's own table, with any property as target.

A CSV with a SMILES column, an SDF with data fields, or labelled frames.
"""

from __future__ import annotations

import dataclasses
import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ase
from rdkit import Chem, rdBase

from molequi.datasets.base import DatasetSpec, FileReport, Request
from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.formats.assumptions import headings
from molequi.datasets.formats.heading_units import settle_headings
from molequi.datasets.formats.inspection import inspect_frames, report_everything
from molequi.datasets.formats.labels import find_labels
from molequi.datasets.formats.target_cells import bad_value, target_names
from molequi.datasets.formats.unit_checks import suspicious_units
from molequi.datasets.labelled_set import LabelledSet, log_failures
from molequi.datasets.report import LabelReport
from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property
from molequi.runtime.files import no_file
from molequi.structures.csv_files import (
    column_names,
    find_smiles_column,
    is_missing,
    open_table,
    present_cells,
    table_lines,
    table_reader,
)
from molequi.structures.formats import UNREADABLE, format_of
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.readers import records

_LOG = logging.getLogger(__name__)
_PROGRESS_EVERY = 500
_PLACES = {"table": "column", "sdf": "field"}  # of a label, by the format
# What is said of all structures at once, or of none.
_NOTED = ("geometry", "formal_charge", "reading", "charge_source", "multiplicity_source")

Item = tuple[str, "ase.Atoms | str"]


def read_table(
    path: str | Path,
    targets: Sequence[Property],
    *,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    smiles: str | None = None,
    seed: int = 0,
    add_hydrogens: bool = False,
) -> LabelledSet:
    """Read structures and their targets; lines that fail are listed and the others go on.

    keys: target -> column or field, where it is not named like the property. units: target -> its
    unit in the file.
    smiles: the column with SMILES (for CSV and TSV); conformers are made by ETKDGv3 and MMFF94 with
    `seed`. add_hydrogens: complete records of an SDF that have coordinates in space and none.
    Raises UserError for a missing column, naming those there are, and where no line can be used.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{no_file(path)}; give a CSV, SDF or extxyz file")
    headed = settle_headings(str(path), headings(path), targets, keys or {}, units or {})
    keys, units = headed.keys, headed.units
    if is_csv := format_of(path) == "table":
        items = _csv_items(path, targets, keys, smiles, seed)
    else:
        items = _file_items(path, seed, add_hydrogens=add_hydrogens)
    usable = _usable(path, items, targets, keys)
    structures, failures = usable.structures, tuple(usable.failures)
    values, report = find_labels(structures, targets, keys=keys, units=units, where=str(path))
    rows = {row.name: row for row in targets}
    frames = frames_from_atoms(structures, targets=values, properties=rows, source=usable.sources)
    doubts = () if is_csv else suspicious_units(frames, units_given=units)
    report = dataclasses.replace(report, warnings=(*report.warnings, *doubts))
    report = _standing_in(report, _PLACES.get(format_of(path)))
    for warning in report.warnings:
        _LOG.warning("%s: %s", path, warning)
    cells, notes = tuple(map(_cells, structures)), _notes(structures)
    return LabelledSet(frames, report, cells=cells, failures=failures, notes=notes)


def _notes(structures: Sequence[ase.Atoms]) -> dict[str, str]:
    """Say how geometries were made, where they were."""
    made = sorted({str(atoms.info["geometry"]) for atoms in structures if "geometry" in atoms.info})
    return {"geometry": "; ".join(made)} if made else {}


def _cells(atoms: ase.Atoms) -> dict[str, str]:
    """Return what a table says of a structure in a word or a number.

    Its name and SMILES come first, then the columns in their order; what the reader noted of the
    geometry does not.
    """
    found = {
        str(key): str(value)
        for key, value in atoms.info.items()
        if isinstance(value, str | float | int) and key not in _NOTED
    }
    if "constitution" in found:
        given, found["smiles"] = found.get("smiles"), found.pop("constitution")
        if given not in (None, found["smiles"]):
            found["smiles_of_file"] = str(given)
    first = [key for key in ("name", "smiles") if key in found]
    return {key: found[key] for key in dict.fromkeys([*first, *found])}


class _Usable(NamedTuple):
    sources: list[str]
    structures: list[ase.Atoms]
    failures: list[str]


def _usable(
    path: Path, items: Iterator[Item], targets: Sequence[Property], keys: Mapping[str, str]
) -> _Usable:
    """Part the lines that can be used from those that fail, which are logged."""
    found = _Usable([], [], [])
    for label, item in items:
        problem = item if isinstance(item, str) else bad_value(item, targets, keys)
        if isinstance(item, str) or problem is not None:
            found.failures.append(f"{label}: {problem}")
            continue
        found.sources.append(label)
        found.structures.append(item)
        if len(found.structures) % _PROGRESS_EVERY == 0:
            _LOG.info("%s: %d structures so far", path, len(found.structures))
    log_failures(found.failures, str(path))
    if not found.structures:
        raise UserError(
            f"{path}: none of {len(found.failures)} lines can be used; the first: "
            f"{found.failures[0] if found.failures else 'the file is empty'}"
        )
    return found


def _standing_in(report: LabelReport, place: str | None) -> LabelReport:
    """Call the place of all labels by the word of the format, where it has one."""
    if place is None:
        return report
    rows = tuple(dataclasses.replace(row, where=place) for row in report.rows)
    return dataclasses.replace(report, rows=rows)


def inspect_table(
    path: str | Path,
    rows: Iterable[Property] = PROPERTIES.values(),
    units: Mapping[str, str] | None = None,
) -> LabelReport:
    """Report the columns of a CSV or TSV file that are named like `rows`; no conformer is made.

    units: target -> its unit, whatever its heading says.
    """
    rows = list(rows)
    with _opened(Path(path)) as handle:
        reader = table_reader(handle, Path(path))
        columns = column_names(reader, Path(path))
        headed = settle_headings(str(path), columns, rows, {}, units or {}, is_strict=False)
        atoms = [ase.Atoms(info=present_cells(line)) for line in reader]
    report = report_everything(atoms, str(path), rows, headed)
    there = {key: count for key, count in report.keys["info"].items() if key in columns}
    return dataclasses.replace(_standing_in(report, "column"), keys={"columns": there})


def elements_of_smiles(path: Path, column: str | None = None) -> set[int]:
    """Return the atomic numbers of the SMILES of a table, before any geometry is made.

    column: theirs, else it is found. Of other files, and of SMILES that cannot be read, there are
    none. Hydrogen is always among them.
    """
    if not path.is_file() or format_of(path) != "table":
        return set()
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(line.smiles) for line in table_lines(path, column)]
    found = {
        atom.GetAtomicNum() for molecule in molecules if molecule for atom in molecule.GetAtoms()
    }
    return (found | {1}) - {0}  # 0 is the wildcard *, which reading refuses


def _csv_items(
    path: Path, targets: Sequence[Property], keys: Mapping[str, str], smiles: str | None, seed: int
) -> Iterator[Item]:
    _refuse_oriented(path, targets)
    with _opened(path) as handle:
        columns = column_names(table_reader(handle, path), path)
    column = find_smiles_column(path, columns, smiles)
    _check_columns(path, columns, targets, keys)
    if column.note():
        _LOG.info("%s: %s", path, column.note())
    for line in table_lines(path, column.name):
        label = f"{path.name}:{line.number}"
        if not line.smiles:
            yield label, f"the column {column.name!r} is empty"
            continue
        try:
            atoms = atoms_from_smiles(line.smiles, seed)
        except UserError as error:
            yield label, str(error)
            continue
        del line.cells[column.name]
        if "smiles" in line.cells:  # of another molecule
            line.cells["smiles_of_file"] = line.cells.pop("smiles")
        atoms.info.update(present_cells(line.cells))
        yield label, atoms


def _opened(path: Path) -> io.StringIO:
    try:
        return open_table(path)
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read as text ({error})") from error


def _refuse_oriented(path: Path, targets: Sequence[Property]) -> None:
    """Refuse targets that need an order of atoms or axes, which SMILES do not have."""
    for row in targets:
        if row.per_atom or row.shape:
            kind = "a value per atom" if row.per_atom else f"a vector or tensor ({row.irreps})"
            raise UserError(
                f"target {row.name!r} is {kind}, but {path.name} has only SMILES, where the order "
                "of atoms and the axes are arbitrary; give an SDF or extxyz file"
            )


def _check_columns(
    path: Path, columns: Sequence[str], targets: Sequence[Property], keys: Mapping[str, str]
) -> None:
    """Fail before any conformer is made, not after minutes."""
    for row in targets:
        names = target_names(row, keys)
        if not any(column.strip().lower() in names for column in columns):
            known = ", ".join(columns)
            raise UserError(
                f"{path} has no column for the target {row.name!r}; name it with "
                f"data.keys.{row.name}=COLUMN; columns: {known}"
            )


def _file_items(path: Path, seed: int, *, add_hydrogens: bool) -> Iterator[Item]:
    for index, item in enumerate(records(path, seed, add_hydrogens=add_hydrogens)):
        if not isinstance(item, str):
            for name in [
                name
                for name, value in item.info.items()
                if isinstance(value, str) and is_missing(value)
            ]:
                del item.info[name]
        yield f"{path.name}:{index}", item


def _as_found(request: Request, path: Path) -> Request:
    """Return the request for what a file beside the one it was made for has."""
    if format_of(path) != "table":
        return request.as_found(
            inspect_frames(path, request.targets, keys=request.keys, units=request.units)
        )
    with _opened(path) as handle:
        columns = column_names(table_reader(handle, path), path)
    if request.smiles not in columns:
        request = dataclasses.replace(request, smiles=None)
    return request.as_found(inspect_table(path, request.targets, request.units))


class Table(DatasetSpec):
    """A table of one's own: SMILES and numbers, an SDF with fields, or labelled frames."""

    name = "table"
    description = "a CSV with SMILES, an SDF or labelled frames, with any property as target"
    has_free_names = True
    is_own = True

    def recognises(self, path: Path) -> bool:
        """Recognise CSV and TSV; an SDF is a table where a config says so."""
        return format_of(path) == "table"

    def read(self, request: Request) -> LabelledSet:
        """Read the file; see `read_table`."""
        path = request.file()
        if not request.is_strict:
            request = _as_found(request, path)
        return read_table(
            path,
            list(request.targets),
            keys=request.keys,
            units=request.units,
            smiles=request.smiles,
            seed=request.seed,
            add_hydrogens=request.add_hydrogens,
        )

    def inspect(self, path: Path) -> FileReport:
        """Report the columns."""
        report = inspect_table(path)
        return FileReport(str(path), self.name, report.n_frames, report, report.warnings)
