"""Scans: the energy along a bond, an angle or a torsion, rigid or with all else relaxed."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_xyz

from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.runtime.folders import check_folder, folder_by_rename
from molequi.runtime.journal import kept, may_replace
from molequi.runtime.plain import json_text
from molequi.simulation.bare_frames import bare_frame
from molequi.simulation.calculator import Calculator
from molequi.simulation.charts import draw_profile
from molequi.simulation.constraints import lift_constraints
from molequi.simulation.coordinates import (
    Coordinate,
    doubt_about_bonds,
    make_whole,
    parse_coordinate,
    value_of,
)
from molequi.simulation.movers import as_calculator, first_computable
from molequi.simulation.per_mole import NAMES, in_three_units
from molequi.simulation.scan_points import ScanSettings, make_scan, moving_atoms
from molequi.structures.inputs import Input

_LOG = logging.getLogger(__name__)


def run_scan(
    structure: Input, model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator,
    settings: ScanSettings, *, output: str | os.PathLike[str] | None = None,
    overwrite: bool = False, progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Scan a coordinate of the first structure of an input.

    Each point begins from a neighbour's geometry, the first from the structure; see `scan_order`.
    output: a folder; until it appears, points stand in `OUTPUT.journal`, with which the same call
    goes on after an interruption (RunInterruptedError). Returns kind, atoms, unit, points (value,
    energy, relative_ev, relative_kj_mol, relative_kcal_mol, converged, fmax, positions), lowered
    (how many were found to lie lower from their other side), range_ev, _kj_mol, _kcal_mol (highest
    less lowest), labels.
    """
    place = None if output is None else Path(output)
    if place is not None:
        overwrite = may_replace(place, overwrite=overwrite)
        check_folder(place, overwrite=overwrite)
    calculator = as_calculator(model)
    atoms = first_computable(structure, calculator)
    lift_constraints(atoms, "a scan is")
    atoms.calc = calculator
    coordinate = _coordinate_of(settings, atoms)
    labels = calculator.labels(atoms)
    moving_atoms(atoms, coordinate, rigid=settings.rigid)
    scan = make_scan(atoms, coordinate, settings, progress)
    with kept(place, scan.identity(), "scan", may_replace=overwrite) as journal:
        points, lowered = scan.run(journal)
        result = {
            **labels,
            **coordinate.described(),
            "rigid": settings.rigid,
            **_told(points),
            "lowered": lowered,
            "output": None if output is None else str(output),
        }
        if place is not None:
            _write(place, atoms, coordinate, result, overwrite=overwrite)
    return result


def _coordinate_of(settings: ScanSettings, atoms: Atoms) -> Coordinate:
    """Return what is scanned, made whole; warn of atoms that are not bonded. Raises UserError."""
    coordinate = parse_coordinate(settings.atoms, settings.kind, len(atoms))
    make_whole(atoms, coordinate)
    value_of(atoms, coordinate)  # which may have none
    doubt = doubt_about_bonds(atoms, coordinate)
    if doubt is not None:
        _LOG.warning("%s", doubt)
    return coordinate


def _told(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the points with their relative energies, and what is said of all of them."""
    energies = np.array([point["energy"] for point in points])
    above = (energies - energies.min()).tolist()
    return {
        "points": [
            {**point, **in_three_units("relative", energy)}
            for point, energy in zip(points, above, strict=True)
        ],
        **in_three_units("range", float(np.ptp(energies))),
        "converged": all(point["converged"] for point in points),
    }


def _write(
    output: Path, atoms: Atoms, coordinate: Coordinate, result: dict[str, Any], *, overwrite: bool
) -> None:
    """Write scan.xyz, scan.csv, scan.png and result.json."""
    name = f"{coordinate.kind} {coordinate.text} ({coordinate.unit})"
    columns = ("value", "energy", "relative_ev", "relative_kj_mol", "relative_kcal_mol")
    with folder_by_rename(output, overwrite=overwrite) as folder:
        with (folder / "scan.xyz").open("w", encoding="utf-8") as file:
            for point in result["points"]:
                info = {coordinate.kind: point["value"], "converged": point["converged"]}
                frame = bare_frame(atoms, atoms.calc, info, np.array(point["positions"]))
                frame.calc = SinglePointCalculator(
                    frame, energy=point["energy"], forces=np.array(point["forces"])
                )
                write_xyz(file, frame)
        with (folder / "scan.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([name, "energy [eV]", *(f"relative [{u}]" for u in NAMES)])
            writer.writerows([[point[key] for key in columns] for point in result["points"]])
        title = f"{result['formula']}: {'rigid' if result['rigid'] else 'relaxed'} scan"
        draw_profile(
            np.array([point["value"] for point in result["points"]]),
            np.array([point["relative_kj_mol"] for point in result["points"]]),
            (f"{title}; {result['model']}", name, "energy (kJ/mol)"),
            folder / "scan.png",
        )
        (folder / "result.json").write_text(json_text(result), encoding="utf-8")
