"""What outputs of programs say and ASE leaves out: steps that did not converge, and electrons."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ase
import numpy as np
from ase import units

from molequi.structures.electrons import nearest_whole

UNCONVERGED = "the self-consistent field did not converge, so energy and forces are left out"
DIPOLE_OF_AN_ION = (
    "the dipole of an ion is left out, as the output does not tell it from the centre of mass"
)
_NUMBER = r"[-+]?\d+\.\d*(?:[eEdD][-+]?\d+)?"
_SAME = 1e-7  # eV; energies are printed with more digits
_VASP_STEP = re.compile(
    r"aborting loop EDIFF was not reached.*?FREE ENERGIE OF THE ION-ELECTRON SYSTEM"
    rf".*?TOTEN\s*=\s*({_NUMBER})",
    re.DOTALL,
)
_GAUSSIAN_STEP = re.compile(
    rf"Convergence criterion not met\.\s+SCF Done:\s+E\([^)]*\)\s*=\s*({_NUMBER})"
)
_NWCHEM_STEP = re.compile(
    rf"Calculation failed to converge(?:(?!NWChem).)*?Total (?:DFT|SCF) energy\s*=\s*({_NUMBER})",
    re.DOTALL,
)
_IONS = re.compile(r"ions per type\s*=((?:[ \t]+\d+)+)")
_VALENCES = re.compile(rf"Ionic Valenz\s+ZVAL\s*=((?:[ \t]*{_NUMBER})+)")
_POTENTIAL = re.compile(rf"POMASS\s*=\s*{_NUMBER};\s*ZVAL\s*=\s*({_NUMBER})")
_ELECTRONS = re.compile(rf"NELECT\s*=\s*({_NUMBER})")
_XML_STEP = re.compile(r"(?s)<calculation>(.*?)</calculation>")
_XML_ENERGY = re.compile(rf"name=\"e_fr_energy\">\s*({_NUMBER})")
_XML_ELECTRONS = re.compile(rf"name=\"NELECT\">\s*({_NUMBER})")
_XML_MOST = re.compile(r"name=\"NELM\">\s*(\d+)")
_XML_ACCURACY = re.compile(rf"name=\"EDIFF\">\s*({_NUMBER})")
_XML_TYPE = re.compile(
    rf"<rc><c>\s*(\d+)\s*</c><c>[^<]*</c><c>[^<]*</c><c>\s*({_NUMBER})\s*</c><c>[^<]*</c></rc>"
)
_QE_ELECTRONS = re.compile(rf"number of electrons\s*=\s*({_NUMBER})")
# Of spins that the input holds; NUPDOWN is -1 where they are free.
_NUPDOWN = re.compile(r"NUPDOWN\s*=\s*(\d+(?:\.\d*)?)")
_XML_NUPDOWN = re.compile(r"name=\"NUPDOWN\">\s*(\d+(?:\.\d*)?)")
_POLARIZED = re.compile(r"ISPIN\s*=\s*2")
_XML_POLARIZED = re.compile(r"name=\"ISPIN\">\s*2")
_QE_SPINS = re.compile(
    rf"number of electrons\s*=\s*{_NUMBER}\s*\(up:\s*({_NUMBER}), down:\s*({_NUMBER})\)"
)
_QE_SPECIES = re.compile(r"atomic species\s+valence\s+mass\s+pseudopotential\n((?:.*\S.*\n)+)")
_QE_ATOMS = re.compile(r"number of atoms/cell\s*=\s*(\d+)")
_QE_SITE = re.compile(r"(?m)^[ \t]*(\d+)[ \t]+(\S+)[ \t]+tau\(")


def add_note(atoms: ase.Atoms, note: str) -> None:
    """Add a line to what was done in reading, once where it is true of many atoms."""
    noted = str(atoms.info.get("reading", ""))
    if note not in noted:
        atoms.info["reading"] = "; ".join(filter(None, [noted, note]))


def states_more(kind: str) -> bool:
    """Tell whether outputs of a program, by ASE's name of the format, are looked at here."""
    return kind in _UNCONVERGED_ENERGIES or kind in _COUNTED


def drop_unconverged(frames: Sequence[ase.Atoms], text: str, kind: str) -> None:
    """Take the labels from the frames whose energy the output calls unconverged.

    kind: the format's name in ASE.
    """
    find = _UNCONVERGED_ENERGIES.get(kind)
    found = np.array(list(find(text)) if find else [])
    for atoms in frames:
        results: dict[str, Any] = atoms.calc.results if atoms.calc is not None else {}
        energies = [results[key] for key in ("energy", "free_energy") if key in results]
        if any(np.isclose(found, energy, rtol=0.0, atol=_SAME).any() for energy in energies):
            atoms.calc = None
            add_note(atoms, UNCONVERGED)


def counted_charge(text: str, kind: str) -> int | float | None:
    """Return the charge that the valence electrons of the atoms and of the whole tell, e.

    Of VASP and Quantum ESPRESSO, which state no charge; None where the text does not tell.
    """
    count = _COUNTED.get(kind)
    charge = count(text) if count else None
    if charge is None:
        return None
    whole = nearest_whole(charge)
    return charge if whole is None else whole


def held_multiplicity(text: str, kind: str) -> int | None:
    """Return the multiplicity of spins that VASP or Quantum ESPRESSO was told to hold.

    None where they were free, as those of a metal, or the text does not tell.
    """
    count = _HELD.get(kind)
    unpaired = count(text) if count else None
    whole = None if unpaired is None else nearest_whole(unpaired)
    return None if whole is None else 1 + abs(whole)


def _numbers(found: Sequence[str]) -> list[float]:
    return [float(re.sub("[dD]", "e", number)) for number in found]


def _of_outcar(text: str) -> Iterator[float]:
    yield from _numbers(_VASP_STEP.findall(text))


def _in_hartree(pattern: re.Pattern[str]) -> Callable[[str], Iterator[float]]:
    """Return what finds the energies that a pattern names, in eV."""
    return lambda text: (units.Hartree * energy for energy in _numbers(pattern.findall(text)))


def _of_vasprun(text: str) -> Iterator[float]:
    """Yield the free energies of ionic steps that used all electronic steps and still moved."""
    most, accuracy = _XML_MOST.search(text), _XML_ACCURACY.search(text)
    if most is None or accuracy is None:
        return
    for step in _XML_STEP.findall(text):
        *inner, last = step.split("<scstep>")
        energies = _numbers(_XML_ENERGY.findall(step))
        _, _, after = last.rpartition("</scstep>")
        final = _numbers(_XML_ENERGY.findall(after))
        if len(inner) < int(most[1]) or len(energies) < 3 or not final:
            continue
        if abs(energies[-2] - energies[-3]) > float(accuracy[1]):
            yield final[-1]


def _in_outcar(text: str) -> float | None:
    ions, valences, electrons = (pattern.search(text) for pattern in (_IONS, _VALENCES, _ELECTRONS))
    if ions is None or valences is None or electrons is None:
        return None
    counts = [int(count) for count in ions[1].split()]
    each = _numbers(_POTENTIAL.findall(text))  # with a third decimal: hydrogens of a third of e
    if len(counts) != len(each):
        each = _numbers(re.findall(_NUMBER, valences[1]))
    if len(counts) != len(each):
        return None
    return sum(n * z for n, z in zip(counts, each, strict=True)) - float(electrons[1])


def _in_vasprun(text: str) -> float | None:
    electrons, types = _XML_ELECTRONS.search(text), _XML_TYPE.findall(text)
    if electrons is None or not types:
        return None
    return sum(int(n) * float(z) for n, z in types) - float(electrons[1])


def _in_espresso(text: str) -> float | None:
    patterns = (_QE_ELECTRONS, _QE_SPECIES, _QE_ATOMS)
    electrons, species, n_atoms = (pattern.search(text) for pattern in patterns)
    if electrons is None or species is None or n_atoms is None:
        return None
    rows = [row.split() for row in species[1].splitlines()]
    valence = {row[0]: float(row[1]) for row in rows if len(row) > 2}
    # They come twice where the crystal's axes are printed too, or after the cell was relaxed.
    labels = dict(_QE_SITE.findall(text))
    if len(labels) != int(n_atoms[1]) or not valence.keys() >= set(labels.values()):
        return None
    return sum(valence[label] for label in labels.values()) - float(electrons[1])


def _held_in_outcar(text: str) -> float | None:
    found = _NUPDOWN.search(text)
    return float(found[1]) if found and _POLARIZED.search(text) else None


def _held_in_vasprun(text: str) -> float | None:
    found = _XML_NUPDOWN.search(text)
    return float(found[1]) if found and _XML_POLARIZED.search(text) else None


def _held_in_espresso(text: str) -> float | None:
    found = _QE_SPINS.search(text)
    return float(found[1]) - float(found[2]) if found else None


_UNCONVERGED_ENERGIES: dict[str, Callable[[str], Iterator[float]]] = {
    "vasp-out": _of_outcar,
    "vasp-xml": _of_vasprun,
    "gaussian-out": _in_hartree(_GAUSSIAN_STEP),
    "nwchem-out": _in_hartree(_NWCHEM_STEP),
}
_COUNTED: dict[str, Callable[[str], float | None]] = {
    "vasp-out": _in_outcar,
    "vasp-xml": _in_vasprun,
    "espresso-out": _in_espresso,
}
_HELD: dict[str, Callable[[str], float | None]] = {
    "vasp-out": _held_in_outcar,
    "vasp-xml": _held_in_vasprun,
    "espresso-out": _held_in_espresso,
}
