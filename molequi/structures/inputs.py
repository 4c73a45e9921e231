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
from molequi.structures.atoms import charge_of, check_atoms, multiplicity_of
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.readers import read_structures

Input = str | os.PathLike[str] | Atoms
# What the reader noted about where the structure comes from, worth repeating beside a result.
_NOTES = ("name", "smiles", "geometry")


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
        if self.atoms is not None:
            labels.update(
                {
                    name: self.atoms.info[name]
                    for name in _NOTES
                    if isinstance(self.atoms.info.get(name), str)
                }
            )
        return labels

    def __str__(self) -> str:
        """Name the structure in a message."""
        return f"structure {self.index} of {self.source}"


class _Conformers(NamedTuple):
    """How many conformers to make of a SMILES, with the seeds `seed`, `seed + 1`, ..."""

    n_each: int
    seed: int


def read_inputs(
    inputs: Input | Iterable[Input] = (),
    *,
    smiles: str | Sequence[str] = (),
    charge: int | None = None,
    conformers: int = 1,
    seed: int = 0,
) -> Iterator[Structure]:
    """Read files, `-` for standard input, ASE atoms and SMILES, in this order.

    A damaged structure comes with its error.

    charge: e, overrides what the inputs say. conformers: how many to make of each SMILES, by
    ETKDGv3 and MMFF94 with the seeds `seed`, `seed + 1`, ...
    Raises UserError, before anything is computed, where a file is missing or there is nothing to
    read.
    """
    inputs = [inputs] if isinstance(inputs, str | os.PathLike | Atoms) else list(inputs)
    smiles = [smiles] if isinstance(smiles, str) else list(smiles)
    if not inputs and not smiles:
        raise UserError(
            "nothing to compute: give a structure file, - for standard input, or a SMILES"
        )
    if conformers < 1:
        raise UserError(f"conformers is {conformers}; at least 1 is needed")
    _check_files(inputs)
    wanted = _Conformers(conformers, seed)
    files = (
        structure
        for position, item in enumerate(inputs)
        for structure in _read(item, position, charge, wanted)
    )
    return chain(
        files,
        (structure for text in smiles for structure in _embed(text, text, 0, charge, wanted)),
    )


def _check_files(inputs: Sequence[Input]) -> None:
    for path in inputs:
        if not isinstance(path, Atoms) and str(path) != "-" and not Path(path).exists():
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
        )
    )
    structure.require_atoms()
    return structure


def first_atoms(source: Input) -> Atoms:
    """Return a copy of the atoms of the first structure of an input.

    Raises UserError where it cannot be read.
    """
    return source.copy() if isinstance(source, Atoms) else one_structure(source).require_atoms()


def _read(
    item: Input, position: int, charge: int | None, conformers: _Conformers
) -> Iterator[Structure]:
    if isinstance(item, Atoms):
        yield _from_atoms(item, position, charge)
        return
    for index, found in read_structures(item, charge=charge, seed=conformers.seed):
        if isinstance(found, str):
            yield Structure(str(item), index, None, found)
        elif (
            conformers.n_each > 1
            and "smiles" in found.info
            and "ETKDG" in str(found.info.get("geometry"))
        ):
            yield from _embed(found.info["smiles"], str(item), index, charge, conformers)
        else:
            yield Structure(str(item), index, found)


def _embed(
    smiles: str, source: str, index: int, charge: int | None, conformers: _Conformers
) -> Iterator[Structure]:
    for conformer in range(conformers.n_each):
        number = conformer if conformers.n_each > 1 else None
        try:
            atoms = atoms_from_smiles(smiles, conformers.seed + conformer)
        except UserError as error:
            yield Structure(source, index, None, str(error), number)
            return
        structure = _from_atoms(atoms, index, charge)
        yield dataclasses.replace(structure, source=source, conformer=number)


def _from_atoms(atoms: Atoms, index: int, charge: int | None) -> Structure:
    atoms = atoms.copy()
    try:
        check_atoms(atoms)
        atoms.info["charge"] = charge_of(atoms, charge)
        atoms.info["spin_multiplicity"] = multiplicity_of(atoms, atoms.info["charge"])
    except UserError as error:
        return Structure("atoms", index, None, str(error))
    return Structure("atoms", index, atoms)
