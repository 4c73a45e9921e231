"""Files of simulation programs, whose atoms have names or types in the place of elements.

Ions: CHARMM's toppar_water_ions.str. Virtual sites: GROMACS' files of force fields.
"""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path

import ase
from ase.data import atomic_numbers

from molequi.structures.formats import open_binary
from molequi.structures.text import text_lines

# Two letters of a name that can only be an element; CA, CD, CE, CO, HG, NA and the like may also be
# an atom of C, H or N with its place in the residue.
TWO_LETTERS = frozenset("CL BR LI MG ZN FE MN CU SI AL NI".split())
_IONS = {"SOD": "Na", "POT": "K", "CLA": "Cl", "CAL": "Ca", "CES": "Cs", "LIT": "Li", "RUB": "Rb",
         "BAR": "Ba", "CAD": "Cd"}  # fmt: skip
_VIRTUAL = frozenset("MW MW1 MW2 LP LP1 LP2 EP EPW".split())
_TYPES = (
    "the LAMMPS file tells types of atoms and no elements; write a dump with a column element "
    "(dump_modify element)"
)


def ion(name: str, residue: str) -> str | None:
    """Return the element of an atom that is alone in a residue of its own name; else None."""
    plain = _letters(name)
    if not plain or plain != _letters(residue):
        return None
    element = _IONS.get(plain, plain.capitalize())
    return element if element in atomic_numbers else None


def typed_elements(path: Path, kind: str, atoms: ase.Atoms) -> str | None:
    """Correct elements that ASE tells from names; return what tells none.

    kind: the format's name in ASE. Guesses are noted.
    """
    if kind.startswith("lammps-dump") and not _has_elements(path):
        return _TYPES
    return _gromacs(atoms) if kind == "gromacs" else None


def _has_elements(path: Path) -> bool:
    """Tell whether a dump has a column that tells elements."""
    with open_binary(path) as handle:
        for line in text_lines(handle):
            if line.startswith("ITEM: ATOMS"):
                return not {"element", "mass"}.isdisjoint(line.split())
    return False


def _gromacs(atoms: ase.Atoms) -> str | None:
    names, residues = atoms.arrays["atomtypes"], atoms.arrays["residuenames"]
    for index, (name, residue) in enumerate(zip(names, residues, strict=True)):
        letters = _letters(name)
        if str(name).upper() in _VIRTUAL:
            return f"atom {index} ({name}) is a virtual site and no atom; remove it"
        element = ion(name, residue)
        if element is None and letters[:2] in TWO_LETTERS:
            element = letters[:2].capitalize()
        if element is not None:
            atoms.numbers[index] = atomic_numbers[element]
    if not atoms.cell.any():
        atoms.pbc = False  # a box of zeros stands for none
    atoms.info["reading"] = "elements are told from the atom names"
    return None


def _letters(name: str) -> str:
    return "".join(takewhile(str.isalpha, re.sub(r"^\d+", "", str(name).strip()))).upper()
