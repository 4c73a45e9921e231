"""Suites as JSON, also with .gz.

`{"source", "licence", "systems": {name: {"numbers", "positions" (Å), "charge", "multiplicity"}},
"reactions": [{"name", "terms": [[coefficient, system], ...], "kcal_mol"}]}`, or
`{"source", "licence", "molecules": [{"name", "conformers": [{"numbers", "positions", "charge",
"multiplicity", "kcal_mol"}, ...]}]}`. Charge 0 and the lowest multiplicity may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import UserError
from molequi.prediction.suites import (
    Conformers,
    ConformerSuite,
    Origin,
    Reaction,
    ReactionSuite,
    Suite,
    checked_system,
)
from molequi.runtime.gate import reading
from molequi.runtime.plain import parse_json
from molequi.structures.formats import open_binary

_KINDS = ("reactions", "molecules")


def _document(path: Path) -> Any:
    with reading(path, "JSON"), open_binary(path) as handle:
        return parse_json(handle.read())


def is_json_suite(path: Path) -> bool:
    """Whether a JSON file says that it is a suite; others, such as ASE's databases, do not."""
    document = _document(path)
    return isinstance(document, dict) and any(kind in document for kind in _KINDS)


def read_json_suite(path: Path) -> Suite:
    """Read a suite, which is named after its file.

    Raises UserError that says what is missing, and where.
    """
    document = _document(path)
    is_whole = isinstance(document, dict) and sum(kind in document for kind in _KINDS) == 1
    if not is_whole or {"molecules", "systems"} <= set(document):
        raise UserError(
            f"{path} is no suite: it needs either `systems` and `reactions`, or `molecules`"
        )
    name = path.name.removesuffix(".gz").removesuffix(".json")
    try:
        with reading(path, "suite"):
            return _suite(name, document)
    except UserError as error:
        text = str(error)
        raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _suite(name: str, document: Mapping[str, Any]) -> Suite:
    origin = Origin(name, str(document.get("source", "")), str(document.get("licence", "")))
    if "molecules" in document:
        return ConformerSuite(origin, [_molecule(entry) for entry in document["molecules"]])
    systems = {key: _system(entry, key) for key, entry in document["systems"].items()}
    return ReactionSuite(origin, systems, [_reaction(entry) for entry in document["reactions"]])


def _system(entry: Mapping[str, Any], name: str) -> Atoms:
    atoms = Atoms(entry["numbers"], np.array(entry["positions"], dtype=np.float64))
    atoms.info["charge"] = entry.get("charge", 0)
    if "multiplicity" in entry:
        atoms.info["spin_multiplicity"] = entry["multiplicity"]
    try:
        return checked_system(atoms)
    except UserError as error:
        raise UserError(f"system {name}: {error}") from error


def _reaction(entry: Mapping[str, Any]) -> Reaction:
    terms = tuple((float(coefficient), str(name)) for coefficient, name in entry["terms"])
    return Reaction(str(entry["name"]), terms, float(entry["kcal_mol"]))


def _molecule(entry: Mapping[str, Any]) -> Conformers:
    name, conformers = str(entry["name"]), entry["conformers"]
    structures = tuple(_system(one, f"{name}, conformer {k}") for k, one in enumerate(conformers))
    return Conformers(name, structures, np.array([float(one["kcal_mol"]) for one in conformers]))
