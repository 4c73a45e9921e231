"""Outputs of ORCA: every geometry with its energy, forces, dipole, charge and multiplicity."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ase
import numpy as np
from ase import units
from ase.calculators.singlepoint import SinglePointCalculator

from molequi.errors import UserError
from molequi.structures.outputs import DIPOLE_OF_AN_ION, UNCONVERGED, add_note
from molequi.structures.programs import note_electrons
from molequi.structures.symbols import read_symbol

_NUMBER = r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?"
_GEOMETRY = re.compile(r"CARTESIAN COORDINATES \(ANGSTROEM\)\s*\n-+\n")
_ATOM = re.compile(rf"\s*(\S+)\s+({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*")
_ENERGY = re.compile(rf"FINAL SINGLE POINT ENERGY\s*(?:\([^)]*\))?\s*({_NUMBER})")
# Of MP2 and double hybrids, whose gradient has a heading of its own, and of all others.
_GRADIENTS = (
    re.compile(r"The final MP2 gradient[^\n]*\n"),
    re.compile(r"CARTESIAN GRADIENT[^\n]*\n[-\s]*\n"),
)
_COMPONENTS = re.compile(rf"\s*\d+(?:\s+\S+\s*)?:\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*")
_DIPOLE = re.compile(rf"Total Dipole Moment\s*:\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})")
_CENTER_OF_MASS = "moment calculation is the CENTER OF MASS"
_CHARGE = re.compile(r"Total Charge\s+Charge\s+\.+\s+([+-]?\d+)")
_MULTIPLICITY = re.compile(r"Multiplicity\s+Mult\s+\.+\s+(\d+)")
_UNCONVERGED = re.compile(
    r"(?i)FINAL SINGLE POINT ENERGY\s*\([^)]*not (?:fully )?converged|SCF NOT CONVERGED AFTER"
)
# E(tot) of a CIS or TD-DFT job, which becomes the final energy, is E(SCF) + DE(CIS).
_EXCITATION = re.compile(rf"DE\([^=\n]*\)\s*=\s*({_NUMBER}) Eh\s*\(Root\s+(\d+)\)")
_LAYERS = re.compile(r"FINAL SINGLE POINT ENERGY\s*\((?:MM|QM|L-QM)|E\(SOC CIS\)")
_FINISHED = "ORCA TERMINATED NORMALLY"


def orca_outputs(text: str) -> list[ase.Atoms | str]:
    """Return the geometries that have an energy, in the order of the file.

    Energy in eV, forces in eV/Å and the dipole in e·Å are in the calculator: that of an ion refers
    to the centre of mass, and is left out where ORCA does not say that its own does. A step whose
    wave function did not converge has no labels. What is no atom comes as its error text.
    Raises UserError where no geometry has an energy.
    """
    frames = list(_frames(text))
    if not text:  # see `text.text_of`
        raise UserError("the output of ORCA is too large to be read; cut it into parts")
    if not frames:
        raise UserError("the output of ORCA ends before it has an energy: the job did not finish")
    if _FINISHED not in text and isinstance(frames[-1], ase.Atoms):
        add_note(frames[-1], "the job of ORCA did not finish; this is the last step with an energy")
    return frames


def _frames(text: str) -> Iterator[ase.Atoms | str]:
    """Yield the steps with an energy; a charge that a step leaves out is that of the one before."""
    starts = [found.start() for found in _GEOMETRY.finditer(text)]
    stated: dict[re.Pattern[str], str] = {}
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        step = text[start:end]
        for pattern in (_CHARGE, _MULTIPLICITY):
            for found in pattern.finditer(step):
                stated[pattern] = found[1]
        if _ENERGY.search(step):
            try:
                yield _labelled(step, (stated.get(_CHARGE), stated.get(_MULTIPLICITY)))
            except UserError as error:
                yield str(error)


def _labelled(step: str, stated: tuple[str | None, str | None]) -> ase.Atoms:
    """Return one geometry with what was computed for it."""
    atoms = _geometry(step)
    note_electrons(atoms, stated, "the program's file")
    if _UNCONVERGED.search(step):
        add_note(atoms, UNCONVERGED)
        return atoms
    if _LAYERS.search(step):
        add_note(atoms, "its labels are left out, as several kinds of energies are printed")
        return atoms
    forces = _forces(step, len(atoms))
    results: dict[str, object] = {} if forces is None else {"forces": forces}
    results["energy"] = _energy(step, atoms, has_forces=forces is not None)
    dipoles = _DIPOLE.findall(step)
    if dipoles and (_CENTER_OF_MASS in step or int(stated[0] or 0) == 0):
        results["dipole"] = np.array(dipoles[-1], dtype=float) * units.Bohr
    elif dipoles:
        add_note(atoms, DIPOLE_OF_AN_ION)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _energy(step: str, atoms: ase.Atoms, *, has_forces: bool) -> float:
    """Return the energy, eV: of the state that the forces are of, else of the ground state."""
    energy = float(_ENERGY.findall(step)[-1])
    excitations = _EXCITATION.findall(step)
    if excitations:
        excitation, root = excitations[-1]
        if has_forces:
            add_note(atoms, f"its energy is that of excited state {root}")
        else:
            energy -= float(excitation)
            add_note(atoms, "its energy is that of the ground state, not of an excited one")
    return energy * units.Hartree


def _geometry(step: str) -> ase.Atoms:
    """Return the atoms of a step. Raises UserError for ghost atoms and the like."""
    start = _GEOMETRY.match(step)
    rows: list[re.Match[str]] = []
    table = step[start.end() if start else 0 :].partition("\n\n")[0]
    for line in table.splitlines():
        if not line.strip("- "):
            break
        found = _ATOM.fullmatch(line)
        if found is None:
            raise UserError(f"the line {line.strip()[:80]!r} of ORCA's coordinates is no atom")
        rows.append(found)
    elements = [read_symbol(row[1]) for row in rows]
    positions = np.array([row.groups()[1:] for row in rows], dtype=float).reshape(-1, 3)
    return ase.Atoms([element.number for element in elements], positions)


def _forces(step: str, n_atoms: int) -> np.ndarray | None:
    """Return the forces, eV/Å: minus the first gradient of the step, which is whole."""
    start = next(filter(None, (pattern.search(step) for pattern in _GRADIENTS)), None)
    if start is None:
        return None
    rows = [_COMPONENTS.fullmatch(line) for line in step[start.end() :].splitlines()[:n_atoms]]
    if len(rows) != n_atoms or None in rows:
        return None
    gradient = np.array([row.groups() for row in rows if row], dtype=float)
    return -gradient * units.Hartree / units.Bohr
