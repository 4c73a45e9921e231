"""Charge and spin in inputs and outputs of programs, which ASE's readers leave out."""

from __future__ import annotations

import re
from typing import NamedTuple

import ase
from ase import units

from molequi.structures.electrons import MAIN_KEYS, SOURCE_KEYS


class _Pattern(NamedTuple):
    """How a program writes a charge and a multiplicity, or the number of unpaired electrons."""

    charge: re.Pattern[str]
    spin: re.Pattern[str]
    is_unpaired: bool = False


_PROGRAMS = (
    # Gaussian
    _Pattern(
        re.compile(r"Charge\s*=\s*([+-]?\d+)\s+Multiplicity\s*="),
        re.compile(r"Charge\s*=\s*[+-]?\d+\s+Multiplicity\s*=\s*(\d+)"),
    ),
    # ORCA
    _Pattern(
        re.compile(r"Total Charge\s+Charge\s+\.+\s+([+-]?\d+)"),
        re.compile(r"Multiplicity\s+Mult\s+\.+\s+(\d+)"),
    ),
    # Turbomole and xtb
    _Pattern(
        re.compile(r"(?m)^\s*\$chrg\s+([+-]?\d+)"),
        re.compile(r"(?m)^\s*\$(?:spin|uhf)\s+(\d+)"),
        is_unpaired=True,
    ),
    _Pattern(
        re.compile(r"(?m)^\s*\$eht\b.*\bcharge=([+-]?\d+)"),
        re.compile(r"(?m)^\s*\$eht\b.*\bunpaired=(\d+)"),
        is_unpaired=True,
    ),
    # NWChem's input
    _Pattern(
        re.compile(r"(?mi)^\s*charge\s+([+-]?\d+)\s*$"), re.compile(r"(?mi)^\s*mult\s+(\d+)\s*$")
    ),
)


_COORDINATES = re.compile(r"(?mi)^\s*\$coord\s+(angs|frac)")


def note_electrons(atoms: ase.Atoms, values: tuple[object, object], source: str) -> None:
    """Write charge and multiplicity, where there are any, and where they come from."""
    for key, source_key, value in zip(MAIN_KEYS, SOURCE_KEYS, values, strict=True):
        if value is not None:
            atoms.info[key], atoms.info[source_key] = int(str(value)), source


def note_printed(atoms: ase.Atoms, text: str) -> None:
    """Add the charge and multiplicity that a program's file states, where it states one of each.

    Several jobs of one file may have different ones: then none is certain.
    """
    for program in _PROGRAMS:
        charge, spin = _only(program.charge, text), _only(program.spin, text)
        if spin is not None and program.is_unpaired:
            spin += 1
        note_electrons(atoms, (charge, spin), "the program's file")


def turbomole_units(atoms: ase.Atoms, text: str) -> str | None:
    """Undo ASE's conversion of coordinates that are in Å; return what cannot be undone.

    Turbomole's `$coord` is in bohr, with `angs` behind it in Å, with `frac` in parts of the cell.
    """
    given = _COORDINATES.search(text)
    if given is None:
        return None
    if given[1].lower() == "frac":
        return "the coordinates are fractional ($coord frac), which is not read; write bohr"
    atoms.positions /= units.Bohr
    atoms.info["reading"] = "coordinates in Å, as $coord angs says"
    return None


def open_box(atoms: ase.Atoms) -> None:
    """Take the box of a cube's grid for what it mostly is: no cell."""
    atoms.pbc = False
    atoms.set_cell(None)
    atoms.info["reading"] = (
        "the box of the cube's grid is taken for no cell; give a crystal as CIF or extended XYZ"
    )


def _only(pattern: re.Pattern[str], text: str) -> int | None:
    found = set(pattern.findall(text))
    return int(found.pop()) if len(found) == 1 else None
