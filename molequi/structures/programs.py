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


_NUMBER = r"([+-]?\d+(?:\.\d*)?(?:[dDeE][+-]?\d+)?)"
# By ASE's name of the format. A counterpoise job of Gaussian states the electrons of each fragment
# too, and ONIOM those of its models.
_PROGRAMS: dict[str, tuple[_Pattern, ...]] = {
    "gaussian-out": (
        _Pattern(
            re.compile(
                r"Charge\s*=\s*([+-]?\d+)\s+Multiplicity\s*=\s*\d+(?!\d| (?:in frag|.*model))"
            ),
            re.compile(
                r"Charge\s*=\s*[+-]?\d+\s+Multiplicity\s*=\s*(\d+)(?!\d| (?:in frag|.*model))"
            ),
        ),
    ),
    "orca-output": (
        _Pattern(
            re.compile(r"Total Charge\s+Charge\s+\.+\s+([+-]?\d+)"),
            re.compile(r"Multiplicity\s+Mult\s+\.+\s+(\d+)"),
        ),
    ),
    # and xtb
    "turbomole": (
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
    ),
    "nwchem-in": (
        _Pattern(
            re.compile(r"(?mi)^\s*charge\s+([+-]?\d+)\s*$"),
            re.compile(r"(?mi)^\s*mult\s+(\d+)\s*$"),
        ),
    ),
    # Its modules for densities and for wave functions
    "nwchem-out": (
        _Pattern(
            re.compile(r"(?m)^\s*Charge\s+:\s+([+-]?\d+)\s*$"),
            re.compile(r"(?m)^\s*Spin multiplicity:\s+(\d+)\s*$"),
        ),
        _Pattern(
            re.compile(rf"(?m)^\s*charge\s+=\s+{_NUMBER}\s*$"),
            re.compile(r"(?m)^\s*open shells\s+=\s+(\d+)\s*$"),
            is_unpaired=True,
        ),
    ),
    "gamess-us-out": (
        _Pattern(
            re.compile(r"(?m)^\s*CHARGE OF MOLECULE\s+=\s+([+-]?\d+)"),
            re.compile(r"(?m)^\s*(?:SPIN|STATE) MULTIPLICITY\s+=\s+(\d+)"),
        ),
    ),
    "espresso-in": (
        _Pattern(
            re.compile(rf"(?mi)^[^!\n]*\btot_charge\s*=\s*{_NUMBER}"),
            re.compile(r"(?mi)^[^!\n]*\btot_magnetization\s*=\s*(\d+(?:\.\d*)?)"),
            is_unpaired=True,
        ),
    ),
    "cp2k-restart": (
        _Pattern(
            re.compile(r"(?mi)^\s*CHARGE\s+([+-]?\d+)\s*$"),
            re.compile(r"(?mi)^\s*MULTIP(?:LICITY)?\s+(\d+)\s*$"),
        ),
    ),
    "castep-castep": (
        _Pattern(
            re.compile(rf"(?m)^\s*net\s+charge of system\s*:\s*{_NUMBER}"),
            re.compile(r"(?m)^\s*net\s+spin\s+of system\s*:\s*(\d+(?:\.\d*)?)\s*$"),
            is_unpaired=True,
        ),
    ),
    # Avogadro
    "cjson": (
        _Pattern(
            re.compile(r"\"totalCharge\"\s*:\s*([+-]?\d+)"),
            re.compile(r"\"totalSpinMultiplicity\"\s*:\s*(\d+)"),
        ),
    ),
}


_COORDINATES = re.compile(r"(?mi)^\s*\$coord\s+(angs|frac)")


def states_electrons(kind: str) -> bool:
    """Tell whether files of a format, by its name in ASE, may state what ASE leaves out."""
    return kind in _PROGRAMS


def note_electrons(atoms: ase.Atoms, values: tuple[object, object], source: str) -> None:
    """Write charge and multiplicity, where there are any, and where they come from."""
    for key, source_key, value in zip(MAIN_KEYS, SOURCE_KEYS, values, strict=True):
        if value is not None:
            number = float(str(value))
            atoms.info[key] = int(number) if number.is_integer() else number
            atoms.info[source_key] = source


def note_printed(atoms: ase.Atoms, text: str, kind: str) -> None:
    """Add the charge and multiplicity that a program's file states, where it states one of each.

    Several jobs of one file may have different ones: then none is certain, and that is noted.
    kind: the format's name in ASE.
    """
    for program in _PROGRAMS.get(kind, ()):
        charges, spins = _numbers(program.charge, text), _numbers(program.spin, text)
        if program.is_unpaired:
            spins = [spin + 1 for spin in spins]
        single = (_only(charges), _only(spins))
        note_electrons(atoms, single, "the program's file")
        for what, found in (("charges", charges), ("multiplicities", spins)):
            if len(found) > 1:
                several = ", ".join(f"{number:g}" for number in found)
                atoms.info["reading"] = (
                    f"the file states several {what} ({several}), of which none is taken; state "
                    "the right one"
                )


def stated_geometry(atoms: ase.Atoms, text: str, kind: str) -> str | None:
    """Make of coordinates what the text of a file says they are; return what cannot be made.

    kind: the format's name in ASE.
    """
    if kind == "cube":
        _open_box(atoms)
    return _turbomole_units(atoms, text) if kind == "turbomole" else None


def _turbomole_units(atoms: ase.Atoms, text: str) -> str | None:
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


def _open_box(atoms: ase.Atoms) -> None:
    """Take the box of a cube's grid for what it mostly is: no cell."""
    atoms.pbc = False
    atoms.set_cell(None)
    atoms.info["reading"] = (
        "the box of the cube's grid is taken for no cell; give a crystal as CIF or extended XYZ"
    )


def _numbers(pattern: re.Pattern[str], text: str) -> list[float]:
    """Return the different numbers that a pattern finds, in order."""
    found = (float(re.sub("[dD]", "e", number)) for number in pattern.findall(text))
    return list(dict.fromkeys(found))


def _only(found: list[float]) -> float | None:
    return found[0] if len(found) == 1 else None
