"""Reads structures as files have them.

One record after the other, a damaged one as its error text.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import ase

from molequi.errors import UserError
from molequi.runtime.files import no_file
from molequi.structures.atoms import check_atoms, settle_electrons
from molequi.structures.csv_files import piped_lines, table_lines, table_structures
from molequi.structures.databases import sqlite_structures
from molequi.structures.deepmd import deepmd_frames, is_deepmd
from molequi.structures.doubts import doubts_of, missing_hydrogens
from molequi.structures.foreign import any_format, plain_constraints
from molequi.structures.formats import (
    UNREADABLE,
    Format,
    format_of,
    open_binary,
    suffix_of,
)
from molequi.structures.gaussian import gaussian_inputs
from molequi.structures.headings import is_smiles_heading
from molequi.structures.hydrogens import with_hydrogens
from molequi.structures.mol2 import mol2_molecules
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.orca import is_orca_input, orca_inputs
from molequi.structures.pdb import pdb_models
from molequi.structures.piped import Piped, standard_input
from molequi.structures.sdf import read_sdf
from molequi.structures.text import decode, text_lines, text_of
from molequi.structures.unread import instead_of_folder, refuse_no_positions
from molequi.structures.xyz import begins_like_xyz, xyz_frames

_LOG = logging.getLogger(__name__)
# A SMILES, with the extension of ChemAxon's where there is one, which may state radicals; a name.
_SMILES = re.compile(r"\s*(?P<smiles>[^#\s]\S*(?:\s+\|[^|]*\|)?)(?:\s+(?P<name>.*\S))?\s*$")
_HEAD = 1 << 12  # bytes that tell a format


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
    if is_deepmd(path):
        yield from deepmd_frames(path)
        return
    if not path.is_file():
        raise UserError(
            f"{no_file(path)}; give a structure file (.xyz .sdf .mol2 .smi .csv .xlsx .pdb .cif "
            f".traj .db, also .gz), or --smiles TEXT{instead_of_folder(path)}"
        )
    refuse_no_positions(path)
    yield from _of_file(path, seed, add_hydrogens=add_hydrogens, as_is=as_is)


def _of_file(
    path: Path, seed: int, *, add_hydrogens: bool, as_is: bool
) -> Iterator[ase.Atoms | str]:
    kind = _kind_of(path)
    if kind in _LINES or kind == "sdf":
        try:
            with open_binary(path) as handle:
                yield from _parse(handle, kind, seed, add_hydrogens=add_hydrogens, as_is=as_is)
        except UNREADABLE as error:
            raise UserError(f"{path} cannot be read as text ({error})") from error
    elif kind == "database":
        yield from map(_plain, sqlite_structures(path))
    elif kind == "table":
        yield from table_structures(table_lines(path), seed)
    else:
        yield from any_format(path)


def _kind_of(path: Path) -> Format:
    """Tell the format by the name, and by the text where that says too little."""
    if suffix_of(path) == ".inp" and is_orca_input(text_of(path)):
        return "orca"
    kind = format_of(path)
    return "xyz" if kind == "other" and _begins_like_xyz(path) else kind


def _begins_like_xyz(path: Path) -> bool:
    """Tell whether a file is XYZ by another name, such as xtbopt.log or ORCA's .allxyz."""
    try:
        with open_binary(path) as handle:
            return begins_like_xyz(decode(handle.read(_HEAD)))
    except UNREADABLE:
        return False


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


def _smiles_lines(lines: Iterator[str], seed: int = 0) -> Iterator[ase.Atoms | str]:
    for number, line in enumerate(lines, start=1):
        words = _SMILES.match(line)
        if words is None or (number == 1 and is_smiles_heading(words["smiles"])):
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


def _plain(item: ase.Atoms | str) -> ase.Atoms | str:
    """Write constraints as XYZ files say them."""
    if isinstance(item, ase.Atoms):
        plain_constraints(item)
    return item
