"""Energies along a scan or a path, with the geometries that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from molequi.report.charts import Labels, Series, chart
from molequi.report.markup import Markup
from molequi.report.molecules import Scene, viewer, with_room
from molequi.report.page import Section, figures, paragraph
from molequi.report.structures import MOST_VIEWS, snapshot_of
from molequi.report.tables import Digits, facts, table
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json
from molequi.runtime.wording import counted
from molequi.structures.inputs import read_inputs

_SCAN, _PATH, _RESULT = "scan.xyz", "path.xyz", "result.json"
_ENERGY = "relative energy (eV)"


def is_scan(folder: Path) -> bool:
    """Tell whether `molequi scan --output` wrote a folder."""
    return (folder / _SCAN).is_file() and (folder / _RESULT).is_file()


def is_path(folder: Path) -> bool:
    """Tell whether `molequi path --output` wrote a folder."""
    return (folder / _PATH).is_file() and (folder / _RESULT).is_file()


def scan_section(title: str, folder: Path, name: str) -> Section:
    """Return the section of a folder of a scan. name: of the viewer."""
    found = read_json(folder / _RESULT)
    with reading(folder / _RESULT, "scan"):
        atoms = "-".join(str(atom) for atom in found["atoms"])
        along = f"{found['kind']} {atoms} ({found['unit']})"
        x = np.array([point["value"] for point in found["points"]], dtype=float)
        y = np.array([point["relative_ev"] for point in found["points"]], dtype=float)
        told = _facts(found, {"highest above lowest": "range"})
        lost = found["converged"] is False
    content = [
        paragraph("Some points did not relax.", "warning") if lost else None,
        told,
        *_shown(along, x, y, folder / _SCAN, name),
    ]
    return Section(title, "Rigid." if found.get("rigid") else "Relaxed at every point.", content)


def path_section(title: str, folder: Path, name: str) -> Section:
    """Return the section of a folder of a reaction path. name: of the viewer."""
    found = read_json(folder / _RESULT)
    with reading(folder / _RESULT, "path"):
        x = np.array([image["place"] for image in found["images"]], dtype=float)
        y = np.array([image["relative_ev"] for image in found["images"]], dtype=float)
        told = _of_path(found)
        lost = found["converged"] is False
    content = [
        paragraph("The band did not come to rest.", "warning") if lost else None,
        *told,
        *_shown("place along the path (Å)", x, y, folder / _PATH, name),
    ]
    return Section(title, "", content)


_NO_BARRIER = "No image lies above both ends: there is no barrier on this path."
_NO_SADDLE = "The top of the band is no saddle point of first order."


def _of_path(found: dict[str, Any]) -> list[Markup | None]:
    """Return what is said of a path: its energies, and of a barrier whether its top is one."""
    saddle = found["saddle"]
    if saddle is None:
        return [paragraph(_NO_BARRIER), _facts(found, {"B above A": "reaction"})]
    modes = ", ".join(f"{-value:.0f}i" for value in saddle["imaginary_cm1"])
    heights = {"barrier": "barrier", "barrier backwards": "reverse_barrier",
               "B above A": "reaction"}  # fmt: skip
    return [
        None if saddle["is_first_order"] else paragraph(_NO_SADDLE, "warning"),
        _facts(found, heights, [("imaginary modes of the top (cm⁻¹)", modes or "none")]),
    ]


def _facts(
    found: dict[str, Any], heights: dict[str, str], more: list[tuple[str, str]] | None = None
) -> Markup:
    """Return what a result says of itself; heights: its energies by what they are called."""
    rows = [
        (word, f"{found[f'{key}_kj_mol']:.2f} kJ/mol, {found[f'{key}_kcal_mol']:.2f} kcal/mol")
        for word, key in heights.items()
    ]
    structure = f"{found['formula']}, {counted(found['n_atoms'], 'atom')}"
    labels = [("model", found["model"]), ("level", found.get("level"))]
    return facts([("structure", structure), *labels, *rows, *(more or [])])


def _shown(
    along: str, x: np.ndarray, y: np.ndarray, geometries: Path, name: str
) -> list[Markup | None]:
    """Return the curve, the geometries as a film, and both in a table. x, y: (n,)."""
    frames = [one for one in read_inputs(geometries, as_is=True) if one.atoms is not None]
    room = with_room([len(one.require_atoms()) for one in frames], MOST_VIEWS)
    scene = Scene([snapshot_of(one) for one in frames[:room]], {"forces": "eV/Å"}, is_motion=True)
    curve = chart(Labels("Energy", along, _ENERGY), [Series("", x, y), Series("", x, y, "points")])
    rows = [(Digits.of(place, 3), Digits.of(height, 4)) for place, height in zip(x, y, strict=True)]
    return [
        figures(curve),
        viewer(scene, name, "The geometries, from the first to the last.") if room else None,
        table([along, _ENERGY], rows),
    ]
