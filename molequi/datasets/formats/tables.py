"""A chemist's own table: CSV with a SMILES column, SDF with data fields, or labelled frames, with any property as target."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import ase

from molequi.datasets.formats.extxyz import report_everything
from molequi.datasets.formats.labels import LabelReport, find_labels, parse_value
from molequi.datasets.in_memory import Frames, frames_from_atoms
from molequi.errors import UserError
from molequi.properties import Property
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.readers import records

_LOG = logging.getLogger(__name__)
_SMILES_NAMES = ("smiles", "canonical_smiles", "smi")
# How the parts of a vector or tensor may be spread over columns.
_COMPONENTS = {
    (3,): ("x", "y", "z"),
    (3, 3): ("xx", "xy", "xz", "yx", "yy", "yz", "zx", "zy", "zz"),
}
_MISSING = {"", "nan", "na", "n/a", "none", "null", "-"}
_FAILURES_LOGGED = 20
_PROGRESS_EVERY = 500

Item = tuple[str, "ase.Atoms | str"]


@dataclasses.dataclass(frozen=True)
class Table:
    """What a table holds. failures: one text per line or record that could not be used. geometry.

    How coordinates were made, or ``.
    """

    frames: Frames
    report: LabelReport
    failures: tuple[str, ...]
    geometry: str


def read_table(
    path: str | Path,
    targets: Sequence[Property],
    *,
    keys: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    smiles: str | None = None,
    seed: int = 0,
) -> Table:
    """Read structures and their targets; lines that fail are listed and the others go on.

    keys: target -> column or field, where it is not named like the property. units: target -> its
    unit in the file.
    smiles: the column with SMILES (for CSV and TSV); conformers are made by ETKDGv3 and MMFF94 with
    `seed`.
    Raises UserError for a missing column, naming those that are there, and where no line can be
    used.
    """
    path, keys = Path(path), keys or {}
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a CSV, SDF or extxyz file")
    suffix = suffix_of(path)
    items = (
        _csv_items(path, targets, keys, smiles, seed)
        if suffix in {".csv", ".tsv"}
        else _file_items(path, seed)
    )
    sources, structures, failures = [], [], []
    for label, item in items:
        problem = item if isinstance(item, str) else _bad_value(item, targets, keys)
        if problem is not None:
            failures.append(f"{label}: {problem}")
            continue
        sources.append(label)
        structures.append(item)
        if len(structures) % _PROGRESS_EVERY == 0:
            _LOG.info("%s: %d structures so far", path, len(structures))
    _log_failures(path, failures)
    if not structures:
        raise UserError(
            f"{path}: none of {len(failures)} lines can be used; the first: "
            f"{failures[0] if failures else 'the file is empty'}"
        )
    values, report = find_labels(structures, targets, keys=keys, units=units, where=str(path))
    if suffix in {".csv", ".tsv", ".sdf"}:
        place = "field" if suffix == ".sdf" else "column"
        report = dataclasses.replace(
            report, rows=tuple(dataclasses.replace(row, where=place) for row in report.rows)
        )
    frames = frames_from_atoms(
        structures, targets=values, properties={row.name: row for row in targets}, source=sources
    )
    made = sorted({str(atoms.info["geometry"]) for atoms in structures if "geometry" in atoms.info})
    for warning in report.warnings:
        _LOG.warning("%s: %s", path, warning)
    return Table(frames, report, tuple(failures), "; ".join(made))


def inspect_table(path: str | Path) -> LabelReport:
    """Report the columns of a CSV or TSV file that are named like rows of the property table.

    No conformer is made.
    """
    with open_table(Path(path)) as handle:
        lines = [
            {name: value for name, value in line.items() if name and not _is_missing(value)}
            for line in table_reader(handle, Path(path))
        ]
    report = report_everything([ase.Atoms(info=line) for line in lines], str(path))
    rows = tuple(dataclasses.replace(row, where="column") for row in report.rows)
    return dataclasses.replace(report, rows=rows, keys={"columns": report.keys["info"]})


def suffix_of(path: Path) -> str:
    """Return the suffix in lower case, that before `.gz` for a compressed file."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def open_table(path: Path) -> io.TextIOBase:
    """Open a text file, compressed or not."""
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[return-value]
    return path.open(encoding="utf-8-sig", newline="")


def table_reader(handle: io.TextIOBase, path: Path) -> csv.DictReader[str]:
    """Read the lines of a CSV or TSV file as dicts.

    The delimiter is guessed from the first line.
    """
    first = handle.readline()
    handle.seek(0)
    delimiter = "\t" if suffix_of(path) == ".tsv" else max(",;\t", key=first.count)
    return csv.DictReader(handle, delimiter=delimiter, skipinitialspace=True)


def _csv_items(
    path: Path, targets: Sequence[Property], keys: Mapping[str, str], smiles: str | None, seed: int
) -> Iterator[Item]:
    for row in targets:
        if row.per_atom or row.shape:
            kind = "a value per atom" if row.per_atom else f"a vector or tensor ({row.irreps})"
            reason = (
                f"{path.name} has only SMILES, where the order of atoms and the axes are arbitrary"
            )
            raise UserError(
                f"target {row.name!r} is {kind}, but {reason}; give an SDF or extxyz file"
            )
    with open_table(path) as handle:
        reader = table_reader(handle, path)
        try:
            columns = [name for name in reader.fieldnames or () if name is not None]
        except (UnicodeDecodeError, csv.Error) as error:
            raise UserError(f"{path} cannot be read as a table ({error})") from error
        column = smiles_column(path, columns, smiles)
        _check_columns(path, columns, targets, keys)
        for line in reader:
            text = (line[column] or "").strip()
            label = f"{path.name}:{reader.line_num}"
            if not text:
                yield label, f"the column {column!r} is empty"
                continue
            try:
                atoms = atoms_from_smiles(text, seed)
            except UserError as error:
                yield label, str(error)
                continue
            atoms.info.update(
                {
                    name: value
                    for name, value in line.items()
                    if name not in {column, None} and not _is_missing(value)
                }
            )
            yield label, atoms


def smiles_column(path: Path, columns: Sequence[str], wanted: str | None) -> str:
    """Return the name of the column with SMILES. Raises UserError that lists the columns."""
    if wanted is not None:
        if wanted not in columns:
            raise UserError(
                f"{path} has no column {wanted!r} for SMILES; its columns are {', '.join(columns)}"
            )
        return wanted
    for name in columns:
        if name.strip().lower() in _SMILES_NAMES:
            return name
    raise UserError(
        f"{path}: no column is named smiles; name it with data.smiles=COLUMN; the columns are "
        f"{', '.join(columns)}"
    )


def _check_columns(
    path: Path, columns: Sequence[str], targets: Sequence[Property], keys: Mapping[str, str]
) -> None:
    """Fail before any conformer is made, not after minutes."""
    for row in targets:
        names = _names(row, keys)
        if not any(column.strip().lower() in names for column in columns):
            known = ", ".join(columns)
            raise UserError(
                f"{path} has no column for the target {row.name!r}; name it with "
                f"data.keys.{row.name}=COLUMN; columns: {known}"
            )


def _file_items(path: Path, seed: int) -> Iterator[Item]:
    for index, item in enumerate(records(path, seed)):
        if not isinstance(item, str):
            for name in [
                name
                for name, value in item.info.items()
                if isinstance(value, str) and _is_missing(value)
            ]:
                del item.info[name]
        yield f"{path.name}:{index}", item


def _bad_value(
    atoms: ase.Atoms, targets: Sequence[Property], keys: Mapping[str, str]
) -> str | None:
    """Join components spread over columns, and say which target's value cannot be read."""
    for row in targets:
        if (
            row.shape
            and "geometry" in atoms.info
            and str(atoms.info["geometry"]).startswith("ETKDG")
        ):
            return f"target {row.name!r} has components along axes ({row.irreps}) but the record has no coordinates of its own"
        names = _names(row, keys)
        _join_components(atoms, row, keys.get(row.name, row.name))
        for key, value in atoms.info.items():
            if str(key).strip().lower() in names and parse_value(value, row, len(atoms)) is None:
                return (
                    f"{key}={str(value)[:40]!r} cannot be read as {row.name!r} ({_expected(row)})"
                )
    return None


def _join_components(atoms: ase.Atoms, row: Property, key: str) -> None:
    suffixes = _COMPONENTS.get(row.shape)
    if suffixes is None or row.per_atom or key in atoms.info:
        return
    names = {str(name).lower(): name for name in atoms.info}
    for style, separator in itertools.product(
        (suffixes, tuple(map(str, range(len(suffixes))))), ("_", "")
    ):
        wanted = [f"{key}{separator}{suffix}".lower() for suffix in style]
        if all(name in names for name in wanted):
            atoms.info[key] = " ".join(str(atoms.info[names[name]]) for name in wanted)
            return


def _names(row: Property, keys: Mapping[str, str]) -> set[str]:
    return (
        {keys[row.name].strip().lower()} if row.name in keys else {row.name.lower(), *row.aliases}
    )


def _expected(row: Property) -> str:
    if row.binary:
        return "0 or 1, yes or no"
    return (
        "a number"
        if not row.shape and not row.per_atom
        else f"{'per atom ' if row.per_atom else ''}shape {row.shape}"
    )


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, str) and value.strip().lower() in _MISSING)


def _log_failures(path: Path, failures: Sequence[str]) -> None:
    for failure in failures[:_FAILURES_LOGGED]:
        _LOG.warning("skipped %s", failure)
    if len(failures) > _FAILURES_LOGGED:
        _LOG.warning("skipped %d more lines of %s", len(failures) - _FAILURES_LOGGED, path)
