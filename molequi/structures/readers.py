"""Reads structures as files have them.

One record after the other, a damaged one as its error text.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import IO

import ase
import ase.db
import ase.io
from ase.db.row import AtomsRow

from molequi.errors import UserError
from molequi.runtime.files import no_file
from molequi.runtime.gate import reading, warnings_logged
from molequi.structures.atoms import check_atoms, settle_electrons
from molequi.structures.cif import crystal_faults
from molequi.structures.csv_files import piped_lines, table_lines, table_structures
from molequi.structures.doubts import doubts_of, missing_hydrogens
from molequi.structures.electrons import SOURCE_KEYS
from molequi.structures.formats import (
    UNREADABLE,
    Format,
    format_of,
    open_binary,
    refuse_packed,
    suffix_of,
    unknown_format,
)
from molequi.structures.gaussian import gaussian_inputs
from molequi.structures.hydrogens import with_hydrogens
from molequi.structures.mol2 import mol2_molecules
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.orca import is_orca_input, orca_inputs
from molequi.structures.pdb import pdb_models
from molequi.structures.piped import Piped, standard_input
from molequi.structures.programs import (
    note_printed,
    stated_geometry,
    states_electrons,
)
from molequi.structures.sdf import read_sdf
from molequi.structures.text import decode, text_lines
from molequi.structures.typed import typed_elements
from molequi.structures.xyz import xyz_frames

_LOG = logging.getLogger(__name__)
_NWCHEM = {".nw": "nwchem-in"}  # which ASE tells by .nwi
_LARGEST_TEXT = 1 << 28
# A SMILES, with the extension of ChemAxon's where there is one, which may state radicals; a name.
_SMILES = re.compile(r"\s*(?P<smiles>[^#\s]\S*(?:\s+\|[^|]*\|)?)(?:\s+(?P<name>.*\S))?\s*$")
_SQLITE = b"SQLite format 3\0"
_WHOLE = 0.999  # of an occupancy


def read_structures(
    source: str | os.PathLike[str] | Piped,
    *,
    charge: int | None = None,
    seed: int = 0,
    add_hydrogens: bool = False,
    as_is: bool = False,
) -> Iterator[tuple[int, ase.Atoms | str]]:
    """Read every structure of a file, or of standard input for `-`.

    A damaged one comes as its error text and the others go on.

    Reads .xyz, .extxyz, .sdf, .mol, .mol2, .smi, .csv, .tsv, .pdb, .gjf, .db, .traj and what else
    ASE knows, each also with .gz, .bz2 and .xz.
    The atoms carry `info["charge"]` and `info["spin_multiplicity"]` with their sources; `charge`
    overrides what the file says; `seed` is that of conformers made from SMILES; `add_hydrogens`
    completes records in space that have none, `as_is` takes also SDF records without them.
    Raises UserError for a file that is missing, empty or of unknown format.
    """
    found = False
    said: set[str] = set()
    for index, item in enumerate(records(source, seed, add_hydrogens=add_hydrogens, as_is=as_is)):
        found = True
        if isinstance(item, str):
            yield index, item
            continue
        try:
            check_atoms(item)
            settle_electrons(item, charge)
        except UserError as error:
            yield index, str(error)
            continue
        for doubt in _noted_doubts(item):
            if doubt not in said:
                said.add(doubt)
                _LOG.warning("%s, structure %d: %s", source, index, doubt)
        yield index, item
    if not found:
        raise UserError(f"{source} holds no structures")


def _noted_doubts(atoms: ase.Atoms) -> list[str]:
    """Write what was done in reading, and what is doubted, into `info["reading"]`."""
    doubts = [str(atoms.info["reading"])] if "reading" in atoms.info else []
    doubts += doubts_of(atoms)
    if doubts:
        atoms.info["reading"] = "; ".join(doubts)
    return doubts


def records(
    source: str | os.PathLike[str] | Piped,
    seed: int = 0,
    *,
    add_hydrogens: bool = False,
    as_is: bool = False,
) -> Iterator[ase.Atoms | str]:
    """Yield every structure as the file has it, or the text of what is wrong with it.

    `-` is standard input, in any text format and compressed or not.

    seed, add_hydrogens, as_is: see `read_structures`; where hydrogens are asked for and cannot be
    added, as distances do not tell the bonds, the record is wrong.
    Raises UserError for a file that is missing or of unknown format.
    """
    found = _records(source, seed, add_hydrogens=add_hydrogens, as_is=as_is)
    return map(_completed, found) if add_hydrogens else found


def _completed(item: ase.Atoms | str) -> ase.Atoms | str:
    """Add hydrogens to a record that may lack them, or say why that cannot be done."""
    if isinstance(item, str) or missing_hydrogens(item) is None:
        return item
    try:
        return with_hydrogens(item)
    except UserError as error:
        return str(error)


def _records(
    source: str | os.PathLike[str] | Piped, seed: int, *, add_hydrogens: bool, as_is: bool
) -> Iterator[ase.Atoms | str]:
    if not isinstance(source, Piped) and str(source) == "-":
        source = standard_input()
    if isinstance(source, Piped):
        yield from _piped(source, seed, add_hydrogens=add_hydrogens, as_is=as_is)
        return
    path = Path(source)
    if not path.is_file():
        raise UserError(
            f"{no_file(path)}; give a structure file (.xyz .sdf .mol2 .smi .csv .xlsx .pdb .cif "
            ".traj .db, also .gz), or --smiles TEXT"
        )
    kind = _kind_of(path)
    if kind in _LINES or kind == "sdf":
        try:
            with open_binary(path) as handle:
                yield from _parse(handle, kind, seed, add_hydrogens=add_hydrogens, as_is=as_is)
        except UNREADABLE as error:
            raise UserError(f"{path} cannot be read as text ({error})") from error
    elif kind == "database":
        yield from _database(path)
    elif kind == "table":
        yield from table_structures(table_lines(path), seed)
    else:
        yield from _any_format(path)


def _kind_of(path: Path) -> Format:
    """Tell the format by the name, and by the text where several programs share a suffix."""
    is_orca = suffix_of(path) == ".inp" and is_orca_input(_text_of(path))
    return "orca" if is_orca else format_of(path)


def _piped(
    source: Piped, seed: int, *, add_hydrogens: bool, as_is: bool
) -> Iterator[ase.Atoms | str]:
    if source.kind == "table":
        return table_structures(piped_lines(source.data), seed)
    handle = io.BytesIO(source.data)
    return _parse(handle, source.kind, seed, add_hydrogens=add_hydrogens, as_is=as_is)


def _parse(
    handle: IO[bytes], kind: Format, seed: int, *, add_hydrogens: bool, as_is: bool
) -> Iterator[ase.Atoms | str]:
    if kind == "sdf":
        return read_sdf(handle, seed=seed, add_hydrogens=add_hydrogens, as_is=as_is)
    lines = text_lines(handle)
    return _smiles_lines(lines, seed) if kind == "smiles" else _LINES[kind](lines)


def _without_sources(atoms: ase.Atoms) -> ase.Atoms:
    """Forget where another reading found charge and spin."""
    for key in SOURCE_KEYS:
        atoms.info.pop(key, None)
    return atoms


def _smiles_lines(lines: Iterator[str], seed: int = 0) -> Iterator[ase.Atoms | str]:
    for number, line in enumerate(lines, start=1):
        words = _SMILES.match(line)
        if words is None:
            continue
        try:
            atoms = atoms_from_smiles(words["smiles"], seed)
        except UserError as error:
            yield f"line {number}: {error}"
        else:
            if words["name"]:
                atoms.info["name"] = words["name"]
            yield atoms


_LINES: dict[Format, Callable[[Iterator[str]], Iterator[ase.Atoms | str]]] = {
    "xyz": xyz_frames,
    "pdb": pdb_models,
    "mol2": mol2_molecules,
    "gaussian": gaussian_inputs,
    "orca": orca_inputs,
    "smiles": _smiles_lines,
}


def _database(path: Path) -> Iterator[ase.Atoms | str]:
    """Read an ASE database with its key-value pairs and data, which `ase.io.read` leaves out.

    A damaged row comes as its error text.
    """
    refuse_packed(path)
    with open_binary(path) as handle:
        if not handle.read(len(_SQLITE)) == _SQLITE:  # ASE would make one of it
            raise UserError(f"{path} is no database of ASE: it is no SQLite file")
    with reading(path, "database of ASE"), ase.db.connect(path) as database:
        for row in database.select():
            try:
                with reading(f"row {row.id}", "structure"):
                    yield _row_atoms(row)
            except UserError as error:
                yield str(error)


def _row_atoms(row: AtomsRow) -> ase.Atoms:
    atoms = row.toatoms()
    atoms.info.update(row.key_value_pairs)
    atoms.info.update(row.data)
    return _without_sources(atoms)


def _any_format(path: Path) -> Iterator[ase.Atoms | str]:
    kind, frames, faults = _foreign(path)
    printed = _program_text(path, kind)
    for atoms, (fault, note) in zip(frames, faults or repeat((None, None)), strict=False):
        with reading(path, "structures"):
            if note:
                atoms.info["reading"] = note
            problem = fault or _completed_by(atoms, path, kind, printed)
        yield problem or atoms


def _foreign(path: Path) -> tuple[str, Iterable[ase.Atoms], Sequence[tuple[str | None, ...]]]:
    """Return ASE's name of the format, its structures, and faults and notes of each of a CIF's."""
    try:
        kind = _NWCHEM.get(path.suffix.lower()) or ase.io.formats.filetype(str(path))
        with warnings_logged(path, _LOG):
            faults = crystal_faults(path) if kind == "cif" else []
            # ASE reads NAME@INDEX; an index of all keeps an @ of the name itself.
            name = f"{path}@:" if "@" in path.name else path
            return kind, ase.io.read(name, index=":", format=kind), faults
    except ase.io.formats.UnknownFileTypeError as error:
        raise UserError(f"{path} {unknown_format(path, str(error))}") from error
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0].replace("_", "-")
        raise UserError(
            f"{path} is read by a package that is not there: pip install {package}"
        ) from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (
        Exception
    ) as error:  # ASE's readers raise whatever a damaged file makes them stumble over
        if "Could not determine chemical symbols" in str(error):
            raise UserError(
                f"{path} names no elements; write the line of their symbols above their counts"
            ) from error
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        ) from error


def _completed_by(atoms: ase.Atoms, path: Path, kind: str, printed: str) -> str | None:
    """Add what ASE leaves out of a file, or return what is wrong; kind: the format's name there."""
    note_printed(_without_sources(atoms), printed, kind)
    return (
        typed_elements(path, kind, atoms)
        or stated_geometry(atoms, printed, kind)
        or _disorder(atoms)
    )


def _program_text(path: Path, kind: str) -> str:
    """Return the text of a program's file that may state charge and spin; else nothing."""
    return _text_of(path) if states_electrons(kind) else ""


def _text_of(path: Path) -> str:
    """Return the text of a file; nothing of a very large one."""
    if path.stat().st_size > _LARGEST_TEXT:
        return ""
    with open_binary(path) as handle:
        return decode(handle.read())


def _disorder(atoms: ase.Atoms) -> str | None:
    """Say which site of a crystal is not fully occupied by one element."""
    for site, shares in (atoms.info.get("occupancy") or {}).items():
        if len(shares) > 1 or min(shares.values()) < _WHOLE:
            written = ", ".join(f"{symbol} {share:g}" for symbol, share in shares.items())
            return (
                f"site {site} is occupied by {written}: a disordered crystal is no single "
                "structure; choose one location of each atom and set its occupancy to 1"
            )
    return None
