"""Databases of ASE with their key-value pairs and data, which `ase.io.read` leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ase
import ase.db
from ase.db.row import AtomsRow

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.electrons import SOURCE_KEYS
from molequi.structures.formats import open_binary, refuse_packed

_SQLITE = b"SQLite format 3\0"


def sqlite_structures(path: Path) -> Iterator[ase.Atoms | str]:
    """Yield the structures of an SQLite file; a damaged row comes as its error text."""
    refuse_packed(path)
    with open_binary(path) as handle:
        if not handle.read(len(_SQLITE)) == _SQLITE:  # ASE would make one of it
            raise UserError(f"{path} is no database of ASE: it is no SQLite file")
    with reading(path, "database of ASE"):
        yield from _rows(path, "db")


def json_structures(path: Path) -> Iterator[ase.Atoms | str]:
    """Yield the structures of a JSON file; a damaged row comes as its error text."""
    refuse_packed(path)
    yield from _rows(path, "json")


def _rows(path: Path, kind: str) -> Iterator[ase.Atoms | str]:
    with ase.db.connect(path, type=kind, use_lock_file=False) as database:
        for row in database.select():
            try:
                with reading(f"row {row.id}", "structure"):
                    yield _atoms_of(row)
            except UserError as error:
                yield str(error)


def _atoms_of(row: AtomsRow) -> ase.Atoms:
    """Return the atoms of a row.

    Its attributes are read and not its properties: ASE has properties of its own under names such
    as charge and volume, which say something else.
    """
    atoms = row.toatoms()
    stored = vars(row)
    atoms.info.update({key: stored[key] for key in stored["_keys"]})
    atoms.info.update(row.data)
    for key in SOURCE_KEYS:  # of another reading
        atoms.info.pop(key, None)
    return atoms
