"""Tripos MOL2 files: coordinates, element types and charges.

Records: Tripos, "Tripos Mol2 File Format" (2005).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import ase
import numpy as np

from molequi.errors import UserError
from molequi.structures.electrons import nearest_whole, total_of
from molequi.structures.symbols import read_symbol

_UNNAMED = ("", "*****")
_EMPTY = ("", "", "", "")  # for a header that ends early
_NO_CHARGES = "NO_CHARGES"
_GAFF_OF_TWO = ("cl", "br")  # J. Wang et al., J. Comput. Chem. 25 (2004) 1157
_LARGEST = 1000.0  # e; no atom has such a charge


class _Row(NamedTuple):
    """An atom: its atomic number, position (Å) and charge (e)."""

    number: int
    position: list[float]
    charge: float


def mol2_molecules(lines: Iterable[str]) -> Iterator[ase.Atoms | str]:
    """Read the molecules of a MOL2 file; a damaged one comes as its error text.

    The charges of the atoms add up to the total charge where the file has any.
    """
    numbered = enumerate(lines, start=1)
    section: list[tuple[int, str]] = []
    sections: dict[str, list[tuple[int, str]]] = {}
    for number, line in itertools.chain(numbered, [(0, "@<TRIPOS>MOLECULE")]):
        if not line.startswith("@<TRIPOS>"):
            if not line.startswith("#"):
                section.append((number, line.rstrip("\n")))
            continue
        name = line.strip().removeprefix("@<TRIPOS>")
        if name == "MOLECULE" and sections:
            yield _molecule_or_error(sections)
            sections = {}
        section = []
        if number:
            sections[name] = section


def _molecule_or_error(sections: dict[str, list[tuple[int, str]]]) -> ase.Atoms | str:
    try:
        return _molecule(sections)
    except UserError as error:
        return str(error)


def _molecule(sections: dict[str, list[tuple[int, str]]]) -> ase.Atoms:
    name, _, _, kind, *_ = [*(text.strip() for _, text in sections.get("MOLECULE", ())), *_EMPTY]
    rows = _rows(sections.get("ATOM", ()))
    if not rows:
        raise UserError(f"the molecule {name!r} has no atoms")
    atoms = ase.Atoms([row.number for row in rows], np.array([row.position for row in rows]))
    if name not in _UNNAMED:
        atoms.info["name"] = name
    charges = [row.charge for row in rows if kind != _NO_CHARGES]
    notes = _note_charge(atoms, charges)
    if sections.get("CRYSIN"):
        notes.append("the cell of CRYSIN is left out: the molecule is computed alone")
    if notes:
        atoms.info["reading"] = "; ".join(notes)
    return atoms


def _note_charge(atoms: ase.Atoms, charges: Sequence[float]) -> list[str]:
    """Write the sum of the atoms' charges, or return why it says nothing."""
    if not any(charges):
        return []
    total = total_of(charges)  # of partial charges, which are rounded when written
    whole = nearest_whole(total)
    if whole is None:
        return [f"the charges add up to {total:.3f} e, no whole number, and say nothing"]
    atoms.info["charge"] = whole
    atoms.info["charge_source"] = "the sum of the charges of the MOL2 file"
    return []


def _rows(section: Sequence[tuple[int, str]]) -> list[_Row]:
    lines = [(number, text.split()) for number, text in section if text.strip()]
    is_gaff = all(len(words) > 5 and words[5][0].islower() for _, words in lines)
    return [_row(number, words, is_gaff=is_gaff) for number, words in lines]


def _row(number: int, words: Sequence[str], *, is_gaff: bool) -> _Row:
    try:
        element = read_symbol(_symbol(words[1], words[5], is_gaff=is_gaff))
        charge = float(words[8]) if len(words) > 8 else 0.0
        if not abs(charge) < _LARGEST:
            raise ValueError(f"its charge is {charge:g} e")
        return _Row(element.number, [float(word) for word in words[2:5]], charge)
    except (ValueError, IndexError) as error:
        raise UserError(f"line {number}: the atom cannot be read ({error})") from error


def _symbol(name: str, kind: str, *, is_gaff: bool) -> str:
    """Return the element of an atom's type.

    Types of GAFF, which antechamber writes, are small letters, of which the first is the element;
    those of Amber are capitals, and CA is no calcium. Raises ValueError for the latter where the
    name of the atom does not say the same element.
    """
    if is_gaff:
        return kind[:2] if kind in _GAFF_OF_TWO else kind[0]
    symbol = kind.split(".", maxsplit=1)[0]
    if len(symbol) == 2 and symbol.isupper() and not name.upper().startswith(symbol):
        raise ValueError(
            f"the type {kind} of {name} is none of SYBYL; write these, antechamber -at sybyl"
        )
    return symbol
