"""Structures to compute, from wherever they come: files, standard input, SMILES, ASE atoms."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ase import Atoms

from molequi.errors import UserError
from molequi.structures.atoms import check_atoms, settle_electrons
from molequi.structures.electrons import SOURCE_KEYS
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.readers import read_structures

# What the reader noted about where the structure comes from, worth repeating beside a result.
_NOTES = ("name", "smiles", "geometry", "reading")


@dataclasses.dataclass(frozen=True)
class Structure:
    """One structure to compute, or why there is none.

    source: the file, `-`, or the SMILES. index: 0-based in the source. conformer: 0-based, where
    several were asked for.
    """

    source: str
    index: int
    atoms: Atoms | None
    error: str | None = None
    conformer: int | None = None

    def require_atoms(self) -> Atoms:
        """Return the atoms. Raises UserError that says why there are none."""
        if self.atoms is None:
            raise UserError(f"{self}: {self.error}")
        return self.atoms

    def labels(self) -> dict[str, Any]:
        """Return what names the structure in a record."""
        labels: dict[str, Any] = {"source": self.source, "index": self.index}
        if self.conformer is not None:
            labels["conformer"] = self.conformer
        if self.atoms is None:
            return labels
        return {**labels, **notes_of(self.atoms)}

    def electron_sources(self) -> dict[str, str]:
        """Return where charge and multiplicity come from, as far as it is known."""
        info = {} if self.atoms is None else self.atoms.info
        return {key: info[key] for key in SOURCE_KEYS if key in info}

    def __str__(self) -> str:
        """Name the structure in a message."""
        return f"structure {self.index} of {self.source}"


def notes_of(atoms: Atoms) -> dict[str, str]:
    """Return what the reader noted: its name and where its geometry comes from."""
    return {name: atoms.info[name] for name in _NOTES if isinstance(atoms.info.get(name), str)}


Input = str | os.PathLike[str] | Atoms | Structure


class _Wanted(NamedTuple):
    """The total charge, how many conformers to make of a SMILES, and whether to add hydrogens.

    Conformers have the seeds `seed`, `seed + 1`, ...
    """

    charge: int | None
    n_each: int
    seed: int
    add_hydrogens: bool


def read_inputs(
    inputs: Input | Iterable[Input] = (),
    *,
    smiles: str | Sequence[str] = (),
    charge: int | None = None,
    conformers: int = 1,
    seed: int = 0,
    add_hydrogens: bool = False,
) -> Iterator[Structure]:
    """Read files, `-` for standard input, ASE atoms, structures read before and SMILES, in order.

    A damaged structure comes with its error, and so does a file that cannot be read; the others
    go on.

    charge: e, overrides what the inputs say. conformers: how many to make of each SMILES, by
    ETKDGv3 and MMFF94 with the seeds `seed`, `seed + 1`, ... add_hydrogens: complete records of
    an SDF that have coordinates in space and no hydrogens.
    Raises UserError, before anything is computed, where a file is missing or there is nothing to
    read.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike | Atoms | Structure) else list(inputs)
    smiles = [smiles] if isinstance(smiles, str) else list(smiles)
    if not inputs and not smiles:
        raise UserError(
            "nothing to compute: give a structure file, - for standard input, or a SMILES"
        )
    if conformers < 1:
        raise UserError(f"conformers is {conformers}; at least 1 is needed")
    _check_files(inputs)
    wanted = _Wanted(charge, conformers, seed, add_hydrogens)
    files = (
        structure
        for position, item in enumerate(inputs)
        for structure in _read(item, position, wanted)
    )
    return chain(
        files, (structure for text in smiles for structure in _embed(text, text, 0, wanted))
    )


def _check_files(inputs: Sequence[Input]) -> None:
    for path in inputs:
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
) -> Structure:
    """Read the first structure of an input or make one from a SMILES; arguments as `read_inputs`.

    Raises UserError where it cannot be read.
    """
    if source is not None and smiles is not None:
        raise UserError("give either an input file or a SMILES, not both")
    structure = next(
        read_inputs(
            () if source is None else source,
            smiles=() if smiles is None else smiles,
            charge=charge,
            seed=seed,
            add_hydrogens=add_hydrogens,
        )
    )
    structure.require_atoms()
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
        for index, found in read_structures(
            item, charge=wanted.charge, seed=wanted.seed, add_hydrogens=wanted.add_hydrogens
        ):
            yield from _found(found, str(item), index, wanted)
    except UserError as error:
        # What is wrong with a file costs the rest of this file, not the other files.
        yield Structure(str(item), index + 1, None, str(error).removeprefix(f"{item} "))


def _found(found: Atoms | str, source: str, index: int, wanted: _Wanted) -> Iterator[Structure]:
    if isinstance(found, str):
        yield Structure(source, index, None, found)
    elif (
        wanted.n_each > 1 and "smiles" in found.info and "ETKDG" in str(found.info.get("geometry"))
    ):
        yield from _embed(found.info["smiles"], source, index, wanted)
    else:
        yield Structure(source, index, found)


def _embed(smiles: str, source: str, index: int, wanted: _Wanted) -> Iterator[Structure]:
    for conformer in range(wanted.n_each):
        number = conformer if wanted.n_each > 1 else None
        try:
            atoms = atoms_from_smiles(smiles, wanted.seed + conformer)
        except UserError as error:
            yield Structure(source, index, None, str(error), number)
            return
        yield _settled(Structure(source, index, atoms, conformer=number), wanted.charge)


def _settled(structure: Structure, charge: int | None) -> Structure:
    """Check the atoms and settle their charge and spin, or say what is wrong with them."""
    atoms = structure.require_atoms().copy()
    try:
        check_atoms(atoms)
        settle_electrons(atoms, charge)
    except UserError as error:
        return dataclasses.replace(structure, atoms=None, error=str(error))
    return dataclasses.replace(structure, atoms=atoms)
