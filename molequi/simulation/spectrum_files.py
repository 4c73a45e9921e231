"""The files of a spectrum: the curve and its sticks as CSV, a figure, the result as JSON."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np

from molequi.runtime.folders import folder_by_rename
from molequi.runtime.plain import json_text
from molequi.simulation.bands import Spectrum
from molequi.simulation.charts import draw_spectrum

UNITS = {"ir": "km/mol", "raman": "Å⁴/amu"}
NAMES = {"ir": "infrared", "raman": "Raman"}
# km/mol for each cm^-1, as decadic molar absorption, L/(mol cm).
_MOLAR_ABSORPTION = 100.0 / np.log(10.0)


def write_spectrum(
    output: str | os.PathLike[str],
    curve: Spectrum,
    result: dict[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write spectrum.csv, spectrum.png, result.json and, where there are any, sticks.csv."""
    unit, kind = result["unit"], result["kind"]
    rows = result.get("sticks")
    lines = None
    if rows is not None:
        lines = (
            np.array([row["wavenumber_cm1"] for row in rows]),
            np.array([row["strength"] for row in rows]),
        )
    title = f"{result['formula']}: {NAMES[kind]}, {result['method']}; {result['model']}"
    if "optics" in result:
        title += f", polarizability by {result['optics']}"
    with folder_by_rename(output, overwrite=overwrite) as folder:
        _write_curve(folder / "spectrum.csv", curve, kind, unit)
        if rows is not None:
            _write_sticks(folder / "sticks.csv", rows, unit)
        draw_spectrum(
            curve, lines, (title, f"{unit} per cm⁻¹", f"line ({unit})"), folder / "spectrum.png"
        )
        (folder / "result.json").write_text(json_text(result), encoding="utf-8")


def _write_curve(path: Path, curve: Spectrum, kind: str, unit: str) -> None:
    columns = {"wavenumber [cm^-1]": curve.wavenumbers}
    columns[f"{NAMES[kind]} [{unit} per cm^-1]"] = curve.values
    if kind == "ir":
        columns["molar absorption [L/(mol cm)]"] = _MOLAR_ABSORPTION * curve.values
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(values.tolist() for values in columns.values()), strict=True))


def _write_sticks(path: Path, rows: list[dict[str, Any]], unit: str) -> None:
    names = {
        "conformer": "conformer", "mode": "mode", "wavenumber_cm1": "wavenumber [cm^-1]",
        "strength": f"strength [{unit}]", "depolarisation": "depolarisation",
    }  # fmt: skip
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        shown = [name for name in names if not rows or name in rows[0]]
        writer.writerow([names[name] for name in shown])
        writer.writerows([[row[name] for name in shown] for row in rows])
