"""Protein Data Bank files, read by their columns.

Columns: wwPDB, "Atomic Coordinate Entry Format Description", version 3.3, sections 8 and 9.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import ase
import numpy as np
from ase.data import atomic_numbers

from molequi.errors import UserError
from molequi.structures.comments import cell_of
from molequi.structures.electrons import whole_number
from molequi.structures.symbols import Element, read_symbol, set_isotopes
from molequi.structures.typed import TWO_LETTERS, ion

_PLACEHOLDER = "CRYST1 gives a cell of 1 Å, which stands for none, and is left out"


class _Atom(NamedTuple):
    """One ATOM or HETATM record."""

    name: str
    location: str
    residue: tuple[str, str]  # its name; its chain, number and insertion code
    position: tuple[float, float, float]
    occupancy: float
    element: Element
    is_guessed: bool
    charge: int | None


def pdb_models(lines: Iterable[str]) -> Iterator[ase.Atoms | str]:
    """Read the models of a PDB file; a damaged one comes as its error text.

    Of alternate locations each residue keeps that of the highest occupancy; elements that the file
    does not state are told from the names; a placeholder cell is left out. `info["reading"]` says
    what of this was done. The charges of columns 79-80 add up to the total charge.
    """
    records: list[_Atom] = []
    cell: np.ndarray | None = None
    notes: list[str] = []
    problem: str | None = None
    for number, line in enumerate(lines, start=1):
        kind = line[:6].strip().upper()
        try:
            if kind == "CRYST1":
                cell, notes = _cell(line)
            elif kind in {"ATOM", "HETATM"}:
                records.append(_atom(line))
        except (UserError, ValueError) as error:
            problem = problem or f"line {number}: {error}"
        if kind in {"ENDMDL", "END"}:
            yield from _model(records, cell, notes, problem)
            records, problem = [], None
    yield from _model(records, cell, notes, problem)


def _model(
    records: list[_Atom], cell: np.ndarray | None, notes: Sequence[str], problem: str | None
) -> Iterator[ase.Atoms | str]:
    """Yield the structure of some records, its error, or nothing where there are none."""
    if problem is not None:
        yield problem
    elif records:
        try:
            yield _structure(records, cell, list(notes))
        except UserError as error:
            yield str(error)


def _structure(records: list[_Atom], cell: np.ndarray | None, notes: list[str]) -> ase.Atoms:
    kept = _one_location(records)
    notes += _remarks(records, kept)
    atoms = ase.Atoms(
        [atom.element.number for atom in kept],
        [atom.position for atom in kept],
        cell=cell,
        pbc=cell is not None,
    )
    set_isotopes(atoms, [atom.element.isotope for atom in kept])
    atoms.set_array("atomtypes", np.array([atom.name for atom in kept]))
    atoms.set_array("residuenames", np.array([atom.residue[0] for atom in kept]))
    if notes:
        atoms.info["reading"] = "; ".join(notes)
    charges = [atom.charge for atom in kept if atom.charge is not None]
    if charges:
        atoms.info["charge"] = sum(charges)
        atoms.info["charge_source"] = "columns 79-80 of the PDB file"
    return atoms


def _remarks(records: list[_Atom], kept: list[_Atom]) -> list[str]:
    """Say what was not taken as it stands."""
    notes = []
    if len(kept) < len(records):
        how = _how_occupied(records, kept)
        notes.append(
            f"{len(records) - len(kept)} alternate locations of {how} occupancy are left out"
        )
    n_partial = sum(0.0 < atom.occupancy < 1.0 for atom in kept)
    if n_partial and len(kept) == len(records):
        notes.append(f"{n_partial} atoms with an occupancy below 1 count as whole")
    n_absent = sum(atom.occupancy == 0.0 for atom in kept)
    if 0 < n_absent < len(kept):  # where all are 0, none is stated
        notes.append(f"{n_absent} atoms with an occupancy of 0 count as whole")
    if any(atom.is_guessed for atom in kept):
        notes.append("elements are told from the atom names, as columns 77-78 are empty")
    return notes


def _how_occupied(records: list[_Atom], kept: list[_Atom]) -> str:
    """Compare the occupancies of locations that are left out with those of the kept ones."""
    places = {id(atom) for atom in kept}
    largest = max(atom.occupancy for atom in records if id(atom) not in places)
    least = min(atom.occupancy for atom in kept if atom.location)
    return "lower" if largest < least else "no higher"


def _one_location(records: list[_Atom]) -> list[_Atom]:
    """Keep of each residue the atoms without a location, and those of the likeliest one."""
    occupancies: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for atom in records:
        if atom.location:
            occupancies[atom.residue[1]][atom.location] += atom.occupancy
    best = {
        residue: min(letters, key=lambda letter: (-letters[letter], letter))
        for residue, letters in occupancies.items()
    }
    return [atom for atom in records if not atom.location or atom.location == best[atom.residue[1]]]


def _atom(line: str) -> _Atom:
    line = line.rstrip("\n").ljust(80)
    symbol, charge = line[76:78].strip(), line[78:80].strip()
    name, residue = line[12:16], line[17:21].strip()
    known = symbol.capitalize() in atomic_numbers or symbol.upper() == "D"
    try:
        x, y, z = (float(line[start : start + 8]) for start in (30, 38, 46))
    except ValueError:
        raise UserError("a coordinate in columns 31-54 is no number") from None
    return _Atom(
        name.strip(),
        line[16].strip(),
        (residue, line[21:27]),
        (x, y, z),
        _number(line[54:60], 1.0),
        read_symbol(symbol) if known else _guessed(name, residue),
        not known,
        whole_number(charge, f"the charge {charge!r} in columns 79-80") if charge else None,
    )


def _guessed(name: str, residue: str) -> Element:
    """Tell the element from a name in its columns 13-16: one of two letters begins in column 13.

    Raises UserError where it may be either.
    """
    letters = name.strip().lstrip("0123456789").upper()
    if not letters[:1].isalpha():
        raise UserError(f"the atom name {name!r} tells no element; fill columns 77-78")
    alone = ion(name, residue)
    if alone is not None:
        return read_symbol(alone)
    two = letters[:2]
    if name[0].isalpha() and two.capitalize() in atomic_numbers:
        if two in TWO_LETTERS or two == residue.upper():
            return read_symbol(two)
        # A name of four letters has no room for the blank: HG11 is hydrogen.
        if len(name.strip()) < 4:
            raise UserError(
                f"the element of atom {name.strip()!r} is not certain ({two.capitalize()} or "
                f"{two[0]}?); fill columns 77-78"
            )
    return read_symbol(letters[0])


def _cell(line: str) -> tuple[np.ndarray | None, list[str]]:
    """Return the cell of CRYST1, None for a placeholder, and what is to be said of it.

    Raises UserError where symmetry copies would be missing.
    """
    try:
        lengths = [float(line[start : start + 9]) for start in (6, 15, 24)]
        angles = [float(line[start : start + 7]) for start in (33, 40, 47)]
    except ValueError:
        raise UserError("CRYST1 has a length or angle that is no number") from None
    if max(lengths) <= 1.0:
        return None, [_PLACEHOLDER]
    group = " ".join(line[55:66].split()).upper()
    if group.replace(" ", "") not in {"", "P1"}:
        raise UserError(
            f"CRYST1 names the space group {group}, but the file holds one asymmetric unit; write "
            "all atoms of the cell with P 1, or remove the record to compute the molecule alone"
        )
    return cell_of(lengths, angles), []


def _number(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise
