"""Results to files: extended XYZ with a calculator, CSV with units in its heading, JSON."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz

from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property
from molequi.runtime.files import check_output, written_by_rename
from molequi.runtime.plain import json_list, plain

Record = Mapping[str, Any]
Pieces = Callable[[], Iterator[Any]]
_UNITS = {
    "atomization_energy": "eV",
    "max_force": "eV/Å",
    "max_forces_std": "eV/Å",
    "fmax": "eV/Å",
    "energy_change": "eV",
    "dipole_debye": "D",
    "total_charge": "e",
    "mirror_error": PROPERTIES["specific_rotation"].unit,
}
# What a record repeats of the columns of a table.
_IN_COLUMNS = {"columns", "name", "smiles"}
_PER_ATOM = {"positions", "atomic_numbers"}
# Numbers with a sign, which tables carry as text, are none, be their mark a point or a comma.
_FORMULA = re.compile(r"(?![-+](?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?$)(?:[=+@\t\r]|-(?=.))")


def check_writable(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path of an output that may be written in a known format.

    Raises UserError for an unknown suffix, and as `files.check_output`.
    """
    format_of_output(path)
    return check_output(path, overwrite=overwrite)


def write_results(
    path: str | os.PathLike[str],
    records: Sequence[Record],
    structures: Sequence[Atoms | None],
    properties: Mapping[str, Property] | None = None,
    *,
    overwrite: bool = True,
) -> None:
    """Write records (.csv, .json) or structures with their results (.xyz, .extxyz, also .gz).

    The file appears by rename; overwrite: as in `files.written_by_rename`.

    properties: rows beside the property table, for the units in a CSV heading. Nothing is written
    where every structure failed.
    """
    if all("error" in record for record in records):
        return
    piece_of = format_of_output(path).piece_of
    pairs = list(zip(records, structures, strict=True))
    write_pieces(
        path, lambda: (piece_of(*pair, properties or {}) for pair in pairs), overwrite=overwrite
    )


def write_pieces(path: str | os.PathLike[str], pieces: Pieces, *, overwrite: bool = True) -> None:
    """Join what `OutputFormat.piece_of` gave for each structure to a file that appears by rename.

    pieces: starts anew at each call, so that none need be held; a None is left out. overwrite: as
    in `files.written_by_rename`.
    """
    with written_by_rename(path, overwrite=overwrite) as temporary:
        format_of_output(path).join(temporary, pieces)


class OutputFormat(NamedTuple):
    """How results become a file, one structure at a time.

    piece_of: a record, its structure and the properties beside the table to plain JSON data, None
    for what the format has no place for. join: all pieces to a file.
    """

    piece_of: Callable[[Record, Atoms | None, Mapping[str, Property]], Any]
    join: Callable[[Path, Pieces], None]


def format_of_output(path: str | os.PathLike[str]) -> OutputFormat:
    """Return the format of an output by its name. Raises UserError for one that is not known."""
    path = Path(path)
    suffixes = path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]
    xyz = OutputFormat(_frame, _join_xyz)
    formats = {
        ".xyz": xyz,
        ".extxyz": xyz,
        ".xyz.gz": xyz,
        ".extxyz.gz": xyz,
        ".csv": OutputFormat(_row, _join_csv),
        ".json": OutputFormat(_document, _join_json),
    }
    found = formats.get("".join(suffixes).lower())
    if found is None:
        raise UserError(f"the output {path} has no known format; use {', '.join(formats)}")
    return found


def _frame(_record: Record, atoms: Atoms | None, _properties: Mapping[str, Property]) -> str | None:
    if atoms is None:
        return None
    text = io.StringIO()
    write_xyz(text, atoms)
    return text.getvalue()


def _join_xyz(path: Path, pieces: Pieces) -> None:
    opened = (
        gzip.open(path, "wt", encoding="utf-8")
        if path.suffix.lower() == ".gz"
        else path.open("w", encoding="utf-8")
    )
    with opened as file:
        file.writelines(piece for piece in pieces() if piece is not None)


def _document(record: Record, _atoms: Atoms | None, _properties: Mapping[str, Property]) -> Any:
    return plain(record)


def _join_json(path: Path, pieces: Pieces) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json_list(pieces()))


def _row(
    record: Record, _atoms: Atoms | None, properties: Mapping[str, Property]
) -> dict[str, Any]:
    known = {**PROPERTIES, **properties}
    columns = record.get("columns")
    row: dict[str, Any] = plain(
        _flat(record, known) if columns is None else _beside(columns, record, known)
    )
    return row


def _beside(
    columns: Mapping[str, str], record: Record, properties: Mapping[str, Property]
) -> dict[str, Any]:
    """Set what was predicted beside the columns of the input, as `NAME_predicted`."""
    cells: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in record.items():
        if name in properties:
            cells |= {
                f"{name}_predicted{heading.removeprefix(name)}": cell
                for heading, cell in _flat({name: value}, properties).items()
            }
        elif name not in _IN_COLUMNS:
            others[name] = value
    cells |= _flat(others, properties)
    return {**columns, **{_unlike(heading, columns): cell for heading, cell in cells.items()}}


def _unlike(heading: str, columns: Mapping[str, str]) -> str:
    """Return a heading that is none of the input's."""
    return f"molequi_{heading}" if heading in columns else heading


def _join_csv(path: Path, pieces: Pieces) -> None:
    """One row per structure.

    Vectors and tensors of the molecule take a column per component, per-atom values are left to the
    other formats.
    """
    columns = dict.fromkeys(column for row in pieces() for column in row)
    if "error" in columns:  # the last one
        columns["error"] = columns.pop("error")
    # The bytes of a file name that is no UTF-8 are written as escapes.
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([_no_formula(column) for column in columns])
        writer.writerows([_no_formula(row.get(column)) for column in columns] for row in pieces())


def _no_formula(cell: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would compute (OWASP, CSV Injection)."""
    if not isinstance(cell, str) or not _FORMULA.match(cell):
        return cell
    return f"'{cell}"


def _flat(record: Record, properties: Mapping[str, Property]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in record.items():
        known = properties.get(name)
        if known is None and name not in _PER_ATOM:
            row.update(_cells(name, value, _UNITS.get(name)))
        elif known is not None and not known.per_atom and not (value is None and known.shape):
            row.update(_cells(name, value, known.unit))
    return row


def _cells(name: str, value: Any, unit: str | None) -> dict[str, Any]:
    """Return the cells of one entry by their headings: several for a vector or tensor."""
    heading = f" [{unit}]" if unit and unit != "1" else ""
    if isinstance(value, Mapping):
        return {name + heading: " ".join(f"{key}:{item}" for key, item in value.items())}
    if isinstance(value, np.ndarray):
        return {
            f"{name}_{_component(index, value.shape)}{heading}": float(part)
            for index, part in np.ndenumerate(value)
        }
    return {name + heading: value}


def _component(index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    return "".join("xyz"[k] if size == 3 else str(k) for k, size in zip(index, shape, strict=True))
