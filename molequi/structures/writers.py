"""Results to files: extended XYZ with a calculator, CSV with units in its heading, JSON."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz

from molequi.errors import UserError
from molequi.properties import PROPERTIES, Property
from molequi.runtime.files import check_output, written_by_rename
from molequi.runtime.plain import json_text

Record = Mapping[str, Any]
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
_PER_ATOM = {"positions", "atomic_numbers"}


def check_writable(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path of an output that may be written in a known format.

    Raises UserError for an unknown suffix, and as `files.check_output`.
    """
    _writer(Path(path))
    return check_output(path, overwrite=overwrite)


def write_results(
    path: str | os.PathLike[str],
    records: Sequence[Record],
    structures: Sequence[Atoms | None],
    properties: Mapping[str, Property] | None = None,
) -> None:
    """Write records (.csv, .json) or structures with their results (.xyz, .extxyz, also .gz).

    The file appears by rename.

    properties: rows beside the property table, for the units in a CSV heading. Nothing is written
    where every structure failed.
    """
    if all("error" in record for record in records):
        return
    with written_by_rename(path) as temporary:
        _writer(Path(path))(temporary, records, structures, {**PROPERTIES, **(properties or {})})


def _writer(path: Path) -> Callable[..., None]:
    suffixes = path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]
    writers = {
        ".xyz": _write_xyz,
        ".extxyz": _write_xyz,
        ".xyz.gz": _write_xyz,
        ".extxyz.gz": _write_xyz,
        ".csv": _write_csv,
        ".json": _write_json,
    }
    writer = writers.get("".join(suffixes).lower())
    if writer is None:
        raise UserError(f"the output {path} has no known format; use {', '.join(writers)}")
    return writer


def _write_xyz(
    path: Path,
    records: Sequence[Record],
    structures: Sequence[Atoms | None],
    properties: Mapping[str, Property],
) -> None:
    opened = (
        gzip.open(path, "wt", encoding="utf-8")
        if path.suffix.lower() == ".gz"
        else path.open("w", encoding="utf-8")
    )
    with opened as file:
        for atoms in structures:
            if atoms is not None:
                write_xyz(file, atoms)


def _write_json(
    path: Path,
    records: Sequence[Record],
    structures: Sequence[Atoms | None],
    properties: Mapping[str, Property],
) -> None:
    path.write_text(
        json_text(list(records)),
        encoding="utf-8",
    )


def _write_csv(
    path: Path,
    records: Sequence[Record],
    structures: Sequence[Atoms | None],
    properties: Mapping[str, Property],
) -> None:
    """One row per structure.

    Vectors and tensors of the molecule take a column per component, per-atom values are left to the
    other formats.
    """
    rows = [_flat(record, properties) for record in records]
    columns = dict.fromkeys(column for row in rows for column in row if column != "error")
    if any("error" in row for row in rows):
        columns["error"] = None
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


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
    heading = f" [{unit}]" if unit else ""
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
