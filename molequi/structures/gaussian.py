"""Input files of Gaussian: geometry, charge, multiplicity and isotopes."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator, Sequence
from typing import TypeGuard

import ase
import numpy as np
from ase import units
from ase.constraints import FixAtoms
from ase.io.gaussian import GaussianConfiguration

from molequi.errors import UserError
from molequi.runtime.gate import reading, warnings_logged
from molequi.structures.gaussian_rows import plain_rows
from molequi.structures.programs import note_electrons
from molequi.structures.symbols import set_isotopes
from molequi.structures.variables import with_numbers

_UNITS = re.compile(r"(?i)\bunits?\s*[=(]+\s*([^\s)]+)")
_POINT_CHARGES = re.compile(r"(?i)(?<![\w=(])charge(?![\w=])")
_LOG = logging.getLogger(__name__)
# A whole zero as the first of three coordinates, which ASE takes for the mark of a Z-matrix.
_ZERO = re.compile(
    r"(?m)^([ \t]*[^\s,/]+[ \t,/]+[-+]?0)"
    r"(?=(?:[ \t,/]+[-+]?[\d.]+(?:[eEdD][-+]?\d+)?){2}[ \t]*(?:!.*)?$)"
)
_VARIABLE = "Invalid value encountered in Z-matrix"
_LINK = re.compile(r"(?im)^\s*--link1--\s*$")


def gaussian_inputs(lines: Iterator[str]) -> Iterator[ase.Atoms | str]:
    """Read the jobs of a Gaussian input with charge, multiplicity and isotopes.

    A damaged one comes as its error text.
    """
    for text in _LINK.split("".join(lines)):
        if not text.strip():
            continue
        plain = plain_rows(with_numbers(text.strip("\n")))
        try:
            with warnings_logged("the Gaussian input", _LOG):
                job = GaussianConfiguration.parse_gaussian_input(
                    io.StringIO(_ZERO.sub(r"\1.0", plain.job) + "\n\n")
                )
        except Exception as error:  # noqa: BLE001 (whatever a damaged file makes ASE stumble over)
            if _VARIABLE in str(error):
                yield (
                    "the Gaussian input has variables in its Z-matrix to which it gives no "
                    "numbers; put them in"
                )
                continue
            yield (
                f"the Gaussian input cannot be read ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:120]})"
            )
            continue
        try:
            with reading("the Gaussian input", "molecule"):
                yield _as_the_route_says(
                    _molecule(job, plain.frozen), text.strip("\n").partition("\n\n")[0]
                )
        except UserError as error:
            yield str(error)


def _molecule(job: GaussianConfiguration, frozen: Sequence[int]) -> ase.Atoms:
    atoms, parameters = job.get_atoms(), job.get_parameters()
    if frozen:
        atoms.set_constraint(FixAtoms(frozen))
    note_electrons(atoms, (parameters.get("charge"), parameters.get("mult")), "the Gaussian input")
    _set_masses(atoms, parameters.get("isolist") or ())
    return atoms


def _as_the_route_says(atoms: ase.Atoms, route: str) -> ase.Atoms | str:
    """Convert bohr to Å, and name what is left out; errors come as their text."""
    given = " ".join(_UNITS.findall(route)).lower()
    if "rad" in given:
        return "the Gaussian input has angles in radians, which are not read; write degrees"
    notes = []
    if re.search(r"\b(au|bohr)\b", given):
        atoms.positions *= units.Bohr
        notes.append("coordinates in bohr, as the route says, became Å")
    if _POINT_CHARGES.search(route):
        notes.append("the point charges of the input are left out")
    if notes:
        atoms.info["reading"] = "; ".join(notes)
    return atoms


def _set_masses(atoms: ase.Atoms, isotopes: Sequence[float | None]) -> None:
    """Give atoms the masses of `Iso=`: a whole number names the isotope, another the mass."""
    set_isotopes(atoms, [round(value) if _is_whole(value) else 0 for value in isotopes])
    masses = np.array(atoms.get_masses())
    for index, value in enumerate(isotopes):
        if value is not None and not _is_whole(value):
            masses[index] = value
    if any(value is not None for value in isotopes):
        atoms.set_masses(masses)


def _is_whole(value: float | None) -> TypeGuard[float]:
    return value is not None and float(value).is_integer()
