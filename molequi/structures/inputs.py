"""Structures to compute, from wherever they come: files, standard input, SMILES, ASE atoms."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

from ase import Atoms

from molequi.errors import UserError
from molequi.structures.atoms import check_atoms, settle_electrons
from molequi.structures.csv_files import Line, piped_lines, present_cells, table_lines
from molequi.structures.doubts import bare_molecule, note_spin
from molequi.structures.electrons import SOURCE_KEYS
from molequi.structures.formats import Format, format_of
from molequi.structures.molecules import atoms_from_smiles, check_conformers, is_from_smiles
from molequi.structures.piped import Piped, standard_input
from molequi.structures.readers import read_structures
from molequi.structures.structure import Structure

Input = str | os.PathLike[str] | Atoms | Structure
_INPUTS = "a structure file, - for standard input, ASE atoms, or a list of these"
_LOG = logging.getLogger(__name__)


class _Wanted(NamedTuple):
    """The total charge, how many conformers to make of a SMILES, and what of missing hydrogens.

    Conformers have the seeds `seed`, `seed + 1`, ...
    """

    charge: int | None
    n_each: int
    seed: int
    add_hydrogens: bool
    as_is: bool


def read_inputs(
    inputs: Input | Iterable[Input] = (),
    *,
    smiles: str | Sequence[str] = (),
    charge: int | None = None,
    conformers: int = 1,
    seed: int = 0,
    add_hydrogens: bool = False,
    as_is: bool = False,
) -> Iterator[Structure]:
    """Read files, `-` for standard input, ASE atoms, structures read before and SMILES, in order.

    A damaged structure comes with its error, and so does a file that cannot be read; the others
    go on.

    charge: e, overrides what the inputs say. conformers: how many to make of each SMILES, by
    ETKDGv3 and MMFF94 with the seeds `seed`, `seed + 1`, ... add_hydrogens: complete
    what has coordinates in space and no hydrogens, by the bonds of an SDF or by distances; as_is:
    compute it without them. Else it is an error where a file has it (see `bare.openness`); ASE
    atoms are what they are.
    Raises UserError, before anything is computed, where a file is missing or there is nothing to
    read.
    """
    inputs = _listed(inputs, str | os.PathLike | Atoms | Structure, "the input", _INPUTS)
    smiles = _listed(smiles, str, "smiles", "a text or a list of them")
    if not inputs and not smiles:
        raise UserError(
            "nothing to compute: give a structure file, - for standard input, or a SMILES"
        )
    check_conformers(conformers, seed)
    _check_files(inputs)
    wanted = _Wanted(charge, conformers, seed, add_hydrogens, as_is)
    files = (
        structure
        for position, item in enumerate(inputs)
        for structure in _read(item, position, wanted)
    )
    return chain(
        files, (structure for text in smiles for structure in _embed(text, str(text), 0, wanted))
    )


def _listed(given: Any, one: type | UnionType, what: str, wanted: str) -> list[Any]:
    """Return a list of what is given, which may be one thing of a type or several.

    Raises UserError where it is neither.
    """
    if isinstance(given, one):
        return [given]
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise UserError(f"{what} is of type {type(given).__name__}; give {wanted}")
    return list(given)


def _check_files(inputs: Sequence[Input]) -> None:
    for path in inputs:
        if not isinstance(path, str | os.PathLike | Atoms | Structure):
            raise UserError(f"an input is of type {type(path).__name__}; give {_INPUTS}")
        if isinstance(path, str | os.PathLike) and str(path) != "-" and not Path(path).exists():
            raise UserError(
                f"no file {path}; an input is a structure file, - for standard input, or --smiles "
                "TEXT"
            )


def one_structure(
    source: Input | None = None,
    *,
    smiles: str | None = None,
    charge: int | None = None,
    seed: int = 0,
    add_hydrogens: bool = False,
    as_is: bool = False,
) -> Structure:
    """Read the first structure of an input or make one from a SMILES; arguments as `read_inputs`.

    Where there are more a warning says so. Raises UserError where it cannot be read.
    """
    if source is not None and smiles is not None:
        raise UserError("give either an input file or a SMILES, not both")
    found = read_inputs(
        () if source is None else source,
        smiles=() if smiles is None else smiles,
        charge=charge,
        seed=seed,
        add_hydrogens=add_hydrogens,
        as_is=as_is,
    )
    structure = next(found)
    structure.require_atoms()
    if next(found, None) is not None:
        _LOG.warning(
            "%s holds more than one structure; the first is taken, the others are left out", source
        )
    return structure


def first_atoms(source: Input) -> Atoms:
    """Return a copy of the atoms of the first structure of an input.

    Raises UserError where it cannot be read.
    """
    return source.copy() if isinstance(source, Atoms) else one_structure(source).require_atoms()


def _read(item: Input, position: int, wanted: _Wanted) -> Iterator[Structure]:
    if isinstance(item, Structure):
        yield item if item.atoms is None else _settled(item, wanted.charge)
        return
    if isinstance(item, Atoms):
        yield _settled(Structure("atoms", position, item), wanted.charge)
        return
    index = -1
    try:
        source = standard_input() if str(item) == "-" else item
        lines = _lines_of(source)
        if lines is not None:
            for index, line in enumerate(lines):
                yield from _line(line, str(item), index, wanted)
            if index < 0:
                raise UserError(f"{item} holds no lines below its heading")
            return
        for index, found in read_structures(
            source, charge=wanted.charge, seed=wanted.seed, add_hydrogens=wanted.add_hydrogens,
            as_is=wanted.as_is,
        ):  # fmt: skip
            yield from _found(found, str(item), index, wanted)
    except UserError as error:
        # What is wrong with a file costs the rest of this file, not the other files.
        yield _rest(str(item), index + 1, str(error))


def _rest(source: str, index: int, error: str) -> Structure:
    """Say what is wrong with the rest of a file; with all of it the file itself is named."""
    text = error.removeprefix(f"{source}: ").removeprefix(f"{source} ")
    whole = error if text != error else f"{source} {error}"
    return Structure(source, index, None, text if index else whole)


def _lines_of(source: str | os.PathLike[str] | Piped) -> Iterator[Line] | None:
    """Return the lines of a table; None for what is none."""
    if isinstance(source, Piped):
        return piped_lines(source.data) if source.kind == "table" else None
    return table_lines(Path(source)) if format_of(Path(source)) == "table" else None


def _found(found: Atoms | str, source: str, index: int, wanted: _Wanted) -> Iterator[Structure]:
    problem = found if isinstance(found, str) else None if wanted.as_is else bare_molecule(found)
    if isinstance(found, str) or problem is not None:
        columns: dict[str, str] | None = {} if _format(source) == "sdf" else None
        yield Structure(source, index, None, problem, columns=columns)
    elif wanted.n_each > 1 and is_from_smiles(found):
        yield from _embed(found.info["smiles"], source, index, wanted)
    else:
        _say_no_conformers(source, index, wanted)
        columns = _fields(found) if _format(source) == "sdf" else None
        yield Structure(source, index, found, columns=columns)


def _say_no_conformers(source: str, index: int, wanted: _Wanted) -> None:
    """Say once for a file that more conformers are asked for than it gets."""
    if wanted.n_each > 1 and index == 0:
        _LOG.warning(
            "%s has coordinates, which are taken as they are: conformers are made of SMILES (and "
            "of coordinates where a temperature asks for their mean)", source,
        )  # fmt: skip


def _format(item: str | os.PathLike[str]) -> Format:
    return "other" if str(item) == "-" else format_of(Path(item))


def _fields(atoms: Atoms) -> dict[str, str]:
    """Return the data fields of a record of an SDF, with its name first."""
    own = {"charge", "spin_multiplicity", "formal_charge", "geometry", "reading", *SOURCE_KEYS}
    own |= {"constitution", "open_stereo"}
    fields = {str(key): str(value) for key, value in atoms.info.items() if key not in own}
    return {"name": fields.pop("name"), **fields} if "name" in fields else fields


def _line(line: Line, source: str, index: int, wanted: _Wanted) -> Iterator[Structure]:
    """Make the structures of a line of a table, with its cells beside them."""
    told = {**present_cells(line.cells), **line.about()}
    for structure in _embed(line.smiles, source, index, wanted, told):
        yield dataclasses.replace(structure, columns=line.cells)


def _embed(
    smiles: str, source: str, index: int, wanted: _Wanted, told: Mapping[str, object] | None = None
) -> Iterator[Structure]:
    """Make conformers of a SMILES; told: what their atoms carry beside."""
    for conformer in range(wanted.n_each):
        number = conformer if wanted.n_each > 1 else None
        try:
            atoms = atoms_from_smiles(smiles, wanted.seed + conformer)
        except UserError as error:
            yield Structure(source, index, None, str(error), number)
            return
        atoms.info = {**(told or {}), **atoms.info}
        yield _settled(Structure(source, index, atoms, conformer=number), wanted.charge)


def _settled(structure: Structure, charge: int | None) -> Structure:
    """Check the atoms and settle their charge and spin, or say what is wrong with them."""
    atoms = structure.require_atoms().copy()
    try:
        check_atoms(atoms)
        settle_electrons(atoms, charge)
        note_spin(atoms)
    except UserError as error:
        return dataclasses.replace(structure, atoms=None, error=str(error))
    return dataclasses.replace(structure, atoms=atoms)
