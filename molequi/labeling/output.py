"""Structures with their labels, as extended XYZ holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from molequi.properties import PROPERTIES
from molequi.structures.atoms import origin_of_ions
from molequi.structures.electrons import SOURCE_KEYS
from molequi.structures.structure import Structure

_ASE_RESULTS = ("energy", "forces", "dipole", "charges")
_KEPT_NOTES = ("name", "smiles", "geometry", "reading", *SOURCE_KEYS, "gdb")


def labelled(structure: Structure, values: Mapping[str, Any], marks: Mapping[str, str]) -> Atoms:
    """Return the structure with its labels, where `datasets.formats.labels` finds them.

    What ASE has a name for in a calculator, the rest in `info`. marks: what else `info` says.
    Labels that came with the structure are gone. The dipole of an ion refers to the centre of mass,
    as `dipole_origin` says.
    """
    atoms = _bare(structure, marks)
    if "dipole" in values and atoms.info["charge"]:
        atoms.info["dipole_origin"] = origin_of_ions(atoms)
    numbers = {name: _numbers(name, value, len(atoms)) for name, value in values.items()}
    results = {name: numbers[name] for name in _ASE_RESULTS if name in numbers}
    atoms.calc = SinglePointCalculator(atoms, **results)
    for name in numbers.keys() - results.keys():
        place: dict[str, Any] = atoms.arrays if PROPERTIES[name].per_atom else atoms.info
        place[name] = numbers[name]
    return atoms


def _numbers(name: str, value: Any, n_atoms: int) -> Any:
    """Return a label as a number or an array of its shape.

    Raises ValueError for what is none, and KeyError for a name that no property has.
    """
    row = PROPERTIES[name]
    numbers = np.asarray(value, dtype=np.float64)
    shape = (n_atoms, *row.shape) if row.per_atom else row.shape
    if numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"{name} is not of shape {shape} or not finite")
    return numbers if shape else float(numbers)


def _bare(structure: Structure, marks: Mapping[str, str]) -> Atoms:
    """Return the atoms with their masses, charge, multiplicity and notes alone."""
    source = structure.require_atoms()
    atoms = Atoms(source.numbers, source.positions)
    if source.has("masses"):
        atoms.set_masses(source.get_masses())
    for key in _KEPT_NOTES:
        if isinstance(source.info.get(key), str | int):
            atoms.info[key] = _one_line(source.info[key])
    atoms.info.update(
        charge=int(source.info["charge"]),
        spin_multiplicity=int(source.info["spin_multiplicity"]),
        **marks,
    )
    return atoms


def _one_line(value: str | int) -> str | int:
    return " ".join(value.split()) if isinstance(value, str) else value
