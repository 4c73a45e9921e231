"""Data files and dumps of LAMMPS: elements of types, and units.

LAMMPS' manual: "read_data", whose first line is a comment, which `write_data` uses to state units;
"dump_modify", whose `units yes` states them in a dump; "units".
"""

from __future__ import annotations

import io
import re

import ase
import numpy as np
from ase.calculators.lammps.unitconvert import UNITSETS
from ase.data import atomic_masses, atomic_numbers
from ase.io.lammpsdata import read_lammps_data

from molequi.errors import UserError
from molequi.structures.electrons import nearest_whole, total_of
from molequi.structures.outputs import add_note
from molequi.structures.programs import note_electrons
from molequi.structures.symbols import Element, set_isotopes

_COUNT = re.compile(r"(?m)^[ \t]*\d+[ \t]+atoms\b")
_BOX = re.compile(r"(?m)^.*(?:\bxlo[ \t]+xhi|\bavec)\b")
_UNITS = re.compile(r"\A.*\bunits\s*=\s*(\w+)")
_UNITS_OF_DUMP = re.compile(r"ITEM: UNITS\s*\n\s*(\w+)")
_STYLE = "atom_style cannot be guessed"
USUAL_UNITS = "metal"  # what ASE takes where none are stated
_LABELS = re.compile(
    r"(?m)^[ \t]*Atom[ \t]+Type[ \t]+Labels\b.*\n\s*\n((?:[ \t]*\d+[ \t]+\S+.*(?:\n|\Z))+)"
)
# g/mol: how far an element's mass may be off, as 35.5 and 12.0 are, and how much farther every
# other element's has to be.
_NEAR, _APART = 0.1, 0.04
_NATURAL = np.array([np.inf, *atomic_masses[1:95]])  # ASE has 1 for the dummy atom
_DEUTERIUM = 2.014


def is_lammps_data(text: str) -> bool:
    """Tell a data file of LAMMPS by its header: a number of atoms and the sides of a box."""
    head = text[: 1 << 14]
    return bool(_COUNT.search(head) and _BOX.search(head))


def lammps_data(text: str) -> ase.Atoms:
    """Read a data file, periodic in all directions; charges of atoms add up to the total charge.

    Velocities are read where the file states its units. Raises UserError for elements that are not
    told, styles of atoms that are not known, and reduced units (lj).
    """
    units = _checked(_UNITS.search(text))
    read = _by_ase(text, units or USUAL_UNITS)
    elements = _elements(read, text)
    atoms = ase.Atoms([one.number for one in elements], read.positions, cell=read.cell, pbc=True)
    set_isotopes(atoms, [one.isotope for one in elements])
    notes = ["elements are told from types of atoms, and the box is periodic in all directions"]
    velocities = read.get_velocities()
    if units and velocities.any():
        atoms.set_velocities(velocities)
    elif velocities.any():
        notes.append("velocities are left out, as no units are stated")
    atoms.info["reading"] = "; ".join(notes)
    charges = read.get_initial_charges()
    whole = nearest_whole(total_of(charges)) if charges.any() else None
    if whole is not None:
        note_electrons(atoms, (whole, None), "the charges of the LAMMPS file")
    return atoms


def units_of_dump(head: str) -> str | None:
    """Return the units that a dump states, None where it states none. Raises UserError for lj."""
    return _checked(_UNITS_OF_DUMP.search(head))


def settle_dump(atoms: ase.Atoms, units: str | None) -> None:
    """Leave out the energy of 0 that ASE gives a frame with forces; note units that are assumed."""
    has_forces = atoms.calc is not None
    if has_forces:
        atoms.calc.results.pop("energy", None)
    if units is None and (has_forces or atoms.has("momenta")):
        add_note(
            atoms,
            "units are not stated (dump_modify units yes): lengths, velocities and forces are "
            "taken as those of metal, Å, Å/ps and eV/Å",
        )


def _checked(found: re.Match[str] | None) -> str | None:
    units = found[1] if found else None
    if units is not None and units not in UNITSETS:
        raise UserError(f"the LAMMPS file is in units {units}, which are not read; write metal")
    return units


def _by_ase(text: str, units: str) -> ase.Atoms:
    """Read what stands in a file; elements may be numbers of types still."""
    try:
        return read_lammps_data(io.StringIO(text), units=units)
    except ValueError as error:
        if _STYLE in str(error):
            raise UserError(
                "the LAMMPS file does not tell its style of atoms; name it behind the heading, "
                "such as `Atoms # charge`"
            ) from error
        raise


def _elements(read: ase.Atoms, text: str) -> list[Element]:
    """Return the element of each atom. Raises UserError where it is not told."""
    masses = read.arrays.get("masses")
    if masses is not None:
        known = {mass: _element(mass) for mass in set(masses.tolist())}
        return [known[mass] for mass in masses.tolist()]
    labels = _LABELS.search(text)
    if labels is None or any(
        row.split()[1] not in atomic_numbers for row in labels[1].splitlines()
    ):
        raise UserError(
            "the LAMMPS file tells types of atoms and no elements; add their masses (a section "
            "Masses)"
        )
    return [Element(number) for number in read.numbers.tolist()]


def _element(mass: float) -> Element:
    """Return the element that has a mass, g/mol. Raises UserError where none or several have."""
    if abs(mass - _DEUTERIUM) < _NEAR:
        return Element(1, 2)
    apart = np.abs(_NATURAL - mass)
    nearest, second = np.argsort(apart)[:2]
    if apart[nearest] > _NEAR or apart[second] - apart[nearest] < _APART:
        raise UserError(
            f"the LAMMPS file has a type of mass {mass:g}, which tells no element: coarse grains, "
            "united atoms and heavy hydrogens are not read"
        )
    return Element(int(nearest))
