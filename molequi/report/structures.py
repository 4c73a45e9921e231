"""Structures of a file with what was computed for them: a table, and molecules to turn."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from molequi.errors import UserError
from molequi.prediction.records import PREFIX, max_force
from molequi.properties import DEBYE, PROPERTIES
from molequi.report.markup import Markup
from molequi.report.molecules import Scene, Snapshot, viewer, with_room
from molequi.report.page import Section, paragraph
from molequi.report.tables import Cell, Digits, number, table
from molequi.runtime.wording import named_error
from molequi.structures.structure import Structure
from molequi.structures.symbols import formula

MOST_ROWS, MOST_VIEWS = 500, 100
FORCE_UNIT = "eV/Å"
# Scalars of a file beside energy, forces and dipole that a table has room for.
_MOST_SCALARS = 6
# Letters of a value that is refused.
_LONGEST = 40


def structures_section(
    title: str, structures: Sequence[Structure], total: int | None, name: str
) -> Section:
    """Return the section of a file: of the structures that were read, at most `MOST_ROWS`.

    total: how many the file has, None where that is not known. name: of the viewer.
    """
    good = [structure for structure in structures if structure.atoms is not None]
    failed = [structure for structure in structures if structure.atoms is None]
    columns = _columns(good)
    shown = good[: with_room([len(one.require_atoms()) for one in good], MOST_VIEWS)]
    content: list[Markup | None] = [_failures(failed)]
    if good:
        scene = Scene([snapshot_of(one) for one in shown], {"forces": FORCE_UNIT})
        content.append(viewer(scene, name, _caption(shown, good)))
        content.append(table(list(columns), [_row(one, columns) for one in good]))
    count = len(structures) if total is None else total
    lead = f"{count} structure{'' if count == 1 else 's'}{_by_model(good)}"
    if count > len(structures):
        lead += f"; the first {len(structures)} are shown"
    return Section(title, f"{lead}.", content)


def snapshot_of(structure: Structure, title: str | None = None) -> Snapshot:
    """Return a structure with its forces and dipole for the viewer."""
    atoms, values = structure.require_atoms(), results_of(structure)
    energy = values.get("energy", np.nan)
    notes = [("energy", f"{Digits.of(energy, 4)} eV")] if np.isfinite(energy) else []
    return Snapshot(
        title if title is not None else _title(structure),
        atoms.numbers,
        atoms.positions,
        {"forces": values["forces"]} if "forces" in values else {},
        values.get("dipole"),
        atoms.cell.array if atoms.pbc.any() else None,
        notes,
    )


def results_of(structure: Structure) -> dict[str, Any]:
    """Return what the file's calculator holds of a structure, as far as it is there.

    energy: eV. forces: (N, 3), eV/Å. dipole: (3,), e·Å; a length alone, of no known unit, is left
    out. Raises UserError where energy or forces are no numbers of that shape.
    """
    atoms = structure.require_atoms()
    results = {} if atoms.calc is None else atoms.calc.results
    shapes = {"energy": (), "forces": (len(atoms), 3)}
    found: dict[str, Any] = {
        name: _numbers(structure, name, results[name], shape)
        for name, shape in shapes.items()
        if results.get(name) is not None
    }
    if "energy" in found:
        found["energy"] = float(found["energy"])
    dipole = results.get("dipole")
    if dipole is not None and np.shape(dipole) == (3,):
        found["dipole"] = _numbers(structure, "dipole", dipole, (3,))
    return found


def doubt_of(structure: Structure) -> float | None:
    """Return the largest doubt about a force of a structure, eV/Å, None where nothing tells it.

    Raises UserError where the file holds something else than a number for each atom.
    """
    atoms, name = structure.require_atoms(), f"{PREFIX}forces_std"
    if name not in atoms.arrays:
        return None
    spread = _numbers(structure, name, atoms.arrays[name], (len(atoms),))
    return float(np.max(spread, initial=0.0))


def _numbers(structure: Structure, name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return what a file says as numbers of that shape; UserError where it is something else."""
    found = np.asarray(value)
    if found.dtype.kind in "fiu" and found.shape == shape:
        return found
    said = " ".join(str(value).split())[:_LONGEST]
    wanted = f"{' x '.join(map(str, shape))} numbers" if shape else "one number"
    raise UserError(f"{structure}: {name} is {said}; it must be {wanted}")


def is_number(value: Any) -> bool:
    """Tell whether a value of a file is a single number, whole or not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def info_of(structure: Structure, name: str) -> Any:
    """Return what the file says under one of our names, None where it does not."""
    return structure.require_atoms().info.get(PREFIX + name)


def model_of(structure: Structure) -> str:
    """Say which model and level of theory computed a structure; empty where nothing tells."""
    model, level = (_text(info_of(structure, name)) for name in ("model", "level"))
    return f"{model}, {level}" if model and level else model


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _name(structure: Structure) -> str:
    info = structure.require_atoms().info
    return _text(info.get("name")) or _text(info.get("smiles"))


def _title(structure: Structure) -> str:
    return f"{structure.index} {formula(structure.require_atoms())} {_name(structure)}".strip()


def _by_model(structures: Sequence[Structure]) -> str:
    models = list(dict.fromkeys(filter(None, map(model_of, structures))))
    return f", computed by {models[0]}" if len(models) == 1 else ""


def _columns(structures: Sequence[Structure]) -> dict[str, str]:
    """Return which columns have something to say: heading to key."""
    wanted = {
        "name": "name", "charge (e)": "charge", "energy (eV)": "energy",
        "largest force (eV/Å)": "force", "dipole (D)": "dipole",
        "energy ± (meV)": "energy_std", "largest force ± (eV/Å)": "forces_std",
    }  # fmt: skip
    has_dipole = any("dipole" in results_of(structure) for structure in structures)
    known = {"energy_std", "dipole_magnitude" if has_dipole else "dipole"}
    more = [name for name in _scalars(structures) if name not in known]
    wanted |= {_heading(name): name for name in more[:_MOST_SCALARS]}
    told = {key for one in structures for key, value in _values(one).items() if value}
    return {
        "": "index",
        "formula": "formula",
        **{head: key for head, key in wanted.items() if key in told},
    }


def _scalars(structures: Sequence[Structure]) -> list[str]:
    """Name the properties that structures of a file hold as single numbers of ours."""
    names = dict.fromkeys(
        name.removeprefix(PREFIX)
        for structure in structures
        for name, value in structure.require_atoms().info.items()
        if name.startswith(PREFIX) and is_number(value)
    )
    return [name for name in names if name in PROPERTIES]


def _heading(name: str) -> str:
    unit, words = PROPERTIES[name].unit, name.replace("_", " ")
    return words if unit == "1" else f"{words} ({unit})"


def _row(structure: Structure, columns: dict[str, str]) -> list[Cell]:
    values = _values(structure)
    return [values.get(key) for key in columns.values()]


def _values(structure: Structure) -> dict[str, Cell]:
    atoms, results = structure.require_atoms(), results_of(structure)
    marks = {
        name.removeprefix(PREFIX): float(value)
        for name, value in atoms.info.items()
        if name.startswith(PREFIX) and is_number(value)
    }
    return {
        **marks,
        "index": structure.index,
        "formula": formula(atoms),
        "name": _name(structure) or None,
        "charge": int(atoms.info["charge"]) if "charge" in atoms.info else None,
        "energy": Digits.of(results["energy"], 4) if "energy" in results else None,
        "force": max_force(results["forces"]) if "forces" in results else None,
        "dipole": float(np.linalg.norm(results["dipole"])) / DEBYE if "dipole" in results else None,
        "energy_std": None if "energy_std" not in marks else 1000.0 * marks["energy_std"],
        "forces_std": doubt_of(structure),
    }


def _caption(shown: Sequence[Structure], good: Sequence[Structure]) -> str:
    which = "" if len(shown) == len(good) else f"The first {len(shown)} of {len(good)}. "
    has_forces = any("forces" in results_of(one) for one in shown)
    arrows = " Arrows at atoms are forces; the longest of a molecule always has the same length."
    return (
        f"{which}Turn a molecule by dragging it, come nearer with the wheel after a click."
        f"{arrows if has_forces else ''}"
    )


def _failures(failed: Sequence[Structure]) -> Markup | None:
    if not failed:
        return None
    first = failed[0]
    error = named_error(f"{first}", first.source, first.error or "")
    text = f"{len(failed)} cannot be read; the first is {error}"
    return paragraph(text, "warning")


def length_text(value: float | None, unit: str) -> str | None:
    """Write a number with its unit; None stays None."""
    return None if value is None else f"{number(value)} {unit}"
