"""Suites that a chemist writes: YAML beside the structures that it names.

    unit: kJ/mol                       # of all energies: kcal/mol, kJ/mol or eV
    systems:
      H2: {smiles: "[H][H]"}           # charge and radicals as the SMILES says
      O2: {file: o2.xyz, multiplicity: 3}
      water: water.sdf                 # short for {file: water.sdf}
      acetate: {file: ions.xyz, index: 2, charge: -1}
    reactions:
      - {reaction: 2 H2 + O2 -> 2 water, energy: -571.6}
      - {name: splitting, terms: {water: -1, H2: 1, O2: 1/2}, energy: 285.8}

or, for conformers, in place of `systems` and `reactions`:

    molecules:
      butane: {file: butane.sdf, energies: [0.0, 2.5]}
      hexane: {files: [hexane_a.xyz, hexane_b.xyz], energies: [0.0, 2.6]}

Paths are relative to the YAML file. Structures of SMILES are placed by ETKDGv3 and MMFF94.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units

from molequi.errors import UserError
from molequi.prediction.suite_schema import (
    MoleculeEntry,
    ReactionEntry,
    SuiteFile,
    SystemEntry,
    number_of,
)
from molequi.prediction.suites import (
    KCAL_MOL,
    Conformers,
    ConformerSuite,
    Origin,
    Reaction,
    ReactionSuite,
    Suite,
    checked_system,
)
from molequi.settings import read_settings, validate
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.readers import read_structures

_PER_UNIT = {"kcal/mol": 1.0, "kJ/mol": units.kJ / units.mol / KCAL_MOL, "eV": 1.0 / KCAL_MOL}
_ARROW = re.compile(r"->|→|⇌|\s=\s")
_PLUS = re.compile(r"\s\+\s")
_COEFFICIENT = re.compile(r"(\d+(?:\.\d+)?(?:/\d+)?)\s*[*·]?\s*")


def read_yaml_suite(path: Path) -> Suite:
    """Read a suite, named after its file where it has no name.

    Raises UserError that says which entry is wrong, and what would be right.
    """
    given = validate(SuiteFile, read_settings(path), str(path))
    origin = Origin(_name(given, path), given.source, given.licence)
    if bool(given.reactions or given.systems) == bool(given.molecules):
        raise UserError(f"{path}: give either `systems` and `reactions`, or `molecules`")
    try:
        if given.molecules:
            molecules = [
                _molecule(name, entry, path.parent, entry.unit or given.unit)
                for name, entry in given.molecules.items()
            ]
            return ConformerSuite(origin, molecules)
        systems = {name: _system(name, entry, path.parent) for name, entry in given.systems.items()}
        reactions = [_reaction(one, systems, one.unit or given.unit) for one in given.reactions]
        return ReactionSuite(origin, systems, reactions)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _name(given: SuiteFile, path: Path) -> str:
    """Return the name of a suite, which is that of its picture too."""
    name = given.name or path.stem
    if name in {".", ".."} or not name.isprintable() or set(name) & set("/\\"):
        raise UserError(
            f"{path}: the name {name!r} cannot be that of a file; leave slashes and the like out"
        )
    return name


def parse_reaction(text: str, names: Mapping[str, Any]) -> tuple[tuple[float, str], ...]:
    """Return the terms of a text such as `2 H2 + O2 -> 2 water`: (coefficient, system).

    names: of the systems. Coefficients may be fractions such as 1/2; a plus between systems has
    spaces around it, so that names may end with one. Raises UserError for what is no reaction.
    """
    sides = _ARROW.split(text)
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise UserError(f"reaction {text!r} is not of the form `2 A + B -> C`")
    terms = [
        (sign * coefficient, name)
        for sign, side in zip((-1.0, 1.0), sides, strict=True)
        for coefficient, name in (_term(word.strip(), names) for word in _PLUS.split(side))
    ]
    return tuple(terms)


def _term(text: str, names: Mapping[str, Any]) -> tuple[float, str]:
    """Split the coefficient off, except where a system is called so, as `2-butanol` may be."""
    found = _COEFFICIENT.match(text)
    if text in names or found is None or found.end() == len(text):
        return 1.0, text
    coefficient = number_of(found[1])
    if isinstance(coefficient, str) or not math.isfinite(coefficient):
        raise UserError(f"the coefficient of {text[:60]!r} is no number")
    return coefficient, text[found.end() :]


def _reaction(entry: ReactionEntry, systems: Mapping[str, Atoms], unit: str) -> Reaction:
    if (entry.reaction is None) == (entry.terms is None):
        raise UserError(
            f"reaction {entry.name or entry.reaction or entry.energy}: give either `reaction`, "
            "such as `A + B -> C`, or `terms`"
        )
    if entry.terms is not None:
        terms = tuple((coefficient, name) for name, coefficient in entry.terms.items())
        text = " ".join(f"{coefficient:+g} {name}" for coefficient, name in terms)
    else:
        text = str(entry.reaction)
        terms = parse_reaction(text, systems)
    return Reaction(entry.name or text, terms, entry.energy * _PER_UNIT[unit])


def _system(name: str, entry: SystemEntry, folder: Path) -> Atoms:
    try:
        if (entry.file is None) == (entry.smiles is None):
            raise UserError("give either a `file` or a `smiles`")
        if entry.smiles is not None and entry.index is not None:
            raise UserError("`index` is of a `file`; a `smiles` is one structure")
        if entry.smiles is not None:
            return _with_electrons(atoms_from_smiles(entry.smiles), entry)
        return _with_electrons(_of_file(folder / str(entry.file), entry), entry)
    except UserError as error:
        raise UserError(f"system {name}: {error}") from error


def _of_file(path: Path, entry: SystemEntry) -> Atoms:
    """Return the structure of a file that the entry means."""
    found = _structures(path)
    if entry.index is None and len(found) > 1:
        raise UserError(f"{entry.file} holds {len(found)} structures; give `index`, from 0")
    if not 0 <= (entry.index or 0) < len(found):
        raise UserError(f"{entry.file} holds {len(found)} structures; there is no {entry.index}")
    return found[entry.index or 0]


def _molecule(name: str, entry: MoleculeEntry, folder: Path, unit: str) -> Conformers:
    try:
        if (entry.file is None) == (entry.files is None):
            raise UserError("give either a `file` of all conformers or `files`, one for each")
        found = [
            _with_electrons(atoms, entry)
            for file in entry.files or [str(entry.file)]
            for atoms in _structures(folder / file)
        ]
    except UserError as error:
        raise UserError(f"molecule {name}: {error}") from error
    return Conformers(name, tuple(found), np.array(entry.energies) * _PER_UNIT[unit])


def _structures(path: Path) -> list[Atoms]:
    found = []
    for index, atoms in read_structures(path):
        if isinstance(atoms, str):
            raise UserError(f"{path}, structure {index}: {atoms}")
        found.append(atoms)
    return found


def _with_electrons(atoms: Atoms, entry: SystemEntry | MoleculeEntry) -> Atoms:
    """Put the charge and multiplicity of the entry, where it has any, in place of the file's."""
    if entry.charge is not None:
        atoms.info["charge"] = entry.charge
        atoms.info.pop("charge_source", None)
        atoms.info.pop("spin_multiplicity", None)  # the file's belongs to the file's charge
    if entry.multiplicity is not None:
        atoms.info.pop("multiplicity_source", None)
        atoms.info["spin_multiplicity"] = entry.multiplicity
    return checked_system(atoms)
