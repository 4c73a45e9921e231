"""Element symbols as files write them: numbers, isotopes, ghosts and labels among them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from rdkit import Chem

from molequi.errors import UserError
from molequi.graphs.elements import MASSES

# Tables of atomic weights differ by less, of a weight; 1H alone differs by 1.7e-4 from hydrogen.
_SAME_MASS = 1e-4
_HYDROGENS = {"D": 2, "T": 3}
_ISOTOPE = re.compile(r"\[?(\d{1,3})([A-Z][a-z]?)\]?")
_LABEL = re.compile(r"([A-Z][a-z]?)[\d'*_-]")
_GHOST = re.compile(r"(?i)(bq|gh)\d*|(bq|gh)[-_(:].*|.*[-_]bq|@[a-z]{1,2}\d*")


class Element(NamedTuple):
    """An element, and the mass number where an isotope is named, else 0."""

    number: int
    isotope: int = 0


def read_symbol(text: str) -> Element:
    """Read an element symbol in any case, an atomic number, D, T, `13C` or `[13C]`.

    X, the dummy atom, is element 0. Raises UserError for anything else, with what may be meant.
    """
    for name in (text, text.capitalize()):
        if name in atomic_numbers:
            return Element(atomic_numbers[name])
    if text.upper() in _HYDROGENS:
        return Element(1, _HYDROGENS[text.upper()])
    if text.isdecimal() and int(text) < len(chemical_symbols):
        return Element(int(text))
    isotope = _ISOTOPE.fullmatch(text)
    if isotope and isotope[2] in atomic_numbers:
        return Element(atomic_numbers[isotope[2]], int(isotope[1]))
    raise UserError(_no_symbol(text))


def _no_symbol(text: str) -> str:
    if _GHOST.fullmatch(text):
        return f"{text} is a ghost atom; remove it"
    label = _LABEL.match(text)
    meant = f" ({label[1]}?)" if label and label[1] in atomic_numbers else ""
    return f"{text!r} is no element symbol{meant}"


def has_isotopes(atoms: ase.Atoms) -> bool:
    """Tell whether some atom has another mass than the natural mixture of its element."""
    if not atoms.has("masses"):
        return False
    standard = MASSES[atoms.numbers]
    return bool((np.abs(atoms.get_masses() - standard) > _SAME_MASS * standard).any())


def formula(atoms: ase.Atoms) -> str:
    """Return the formula in Hill's order, in which isotopes are told by their masses: D2O, [13C]H4.

    A mass of no nuclide, such as one that was made heavy for longer steps, is told by `*`.
    """
    if not has_isotopes(atoms):
        return atoms.get_chemical_formula()
    counts = Counter(map(_symbol_of_mass, atoms.numbers.tolist(), atoms.get_masses().tolist()))
    has_carbon = 6 in atoms.numbers

    def place(known: tuple[str, str]) -> tuple[int, str, str]:
        first = {"C": 0, "H": 1}.get(known[0], 2) if has_carbon else 2
        return first, *known

    return "".join(
        text if counts[element, text] == 1 else f"{text}{counts[element, text]}"
        for element, text in sorted(counts, key=place)
    )


def formula_of(numbers: Sequence[int]) -> str:
    """Return the formula of atomic numbers in Hill's order."""
    return str(ase.Atoms(numbers=numbers).get_chemical_formula())


def _symbol_of_mass(number: int, mass: float) -> tuple[str, str]:
    """Return the symbol of an element, and that of an atom of this mass."""
    element, nuclide = chemical_symbols[number], _nuclide_of(number, mass)
    if nuclide is None:
        return element, f"{element}*"
    names = {mass_number: name for name, mass_number in _HYDROGENS.items()} if number == 1 else {}
    return element, names.get(nuclide, f"[{nuclide}{element}]") if nuclide else element


def _nuclide_of(number: int, mass: float) -> int | None:
    """Return the mass number, 0 for the natural mixture; None for a mass of no nuclide."""
    standard = float(MASSES[number])
    if abs(mass - standard) <= _SAME_MASS * standard:
        return 0
    nuclide = round(mass) if math.isfinite(mass) else 0
    known = Chem.GetPeriodicTable().GetMassForIsotope(number, nuclide) if nuclide > 0 else 0.0
    return nuclide if known and abs(mass - known) <= _SAME_MASS * known else None


def isotopes_of(atoms: ase.Atoms) -> list[int]:
    """Return mass numbers, (N,): 0 for natural mixtures and masses of no nuclide."""
    if not has_isotopes(atoms):
        return [0] * len(atoms)
    pairs = zip(atoms.numbers.tolist(), atoms.get_masses().tolist(), strict=True)
    return [_nuclide_of(number, mass) or 0 for number, mass in pairs]


def isotope_mass(element: Element) -> float:
    """Return the mass of a nuclide, g/mol, from RDKit's table; 0 where it has none.

    Raises UserError for a nuclide that does not exist.
    """
    mass = Chem.GetPeriodicTable().GetMassForIsotope(element.number, element.isotope)
    if not mass:
        symbol = chemical_symbols[element.number]
        raise UserError(f"there is no isotope {element.isotope}{symbol}")
    return float(mass)


def set_isotopes(atoms: ase.Atoms, isotopes: Sequence[int]) -> None:
    """Give atoms the masses of their isotopes: (N,) mass numbers, 0 for the natural mixture.

    Masses that the file states itself stay. Raises UserError for a nuclide that does not exist.
    """
    if not any(isotopes) or atoms.has("masses"):
        return
    masses = np.array(atoms.get_masses())
    for index, isotope in enumerate(isotopes):
        if isotope:
            masses[index] = isotope_mass(Element(int(atoms.numbers[index]), isotope))
    atoms.set_masses(masses)
