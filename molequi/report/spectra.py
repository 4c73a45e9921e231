"""Spectra that `molequi spectrum` wrote: the curve and its lines, as its files say."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from molequi.report.charts import Labels, Series, chart
from molequi.report.markup import Markup
from molequi.report.page import Section, figures
from molequi.report.tables import facts
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json

_CURVE, _STICKS, _RESULT = "spectrum.csv", "sticks.csv", "result.json"


def is_spectrum(folder: Path) -> bool:
    """Tell whether `molequi spectrum --output` wrote a folder."""
    return (folder / _CURVE).is_file() and (folder / _RESULT).is_file()


def spectrum_section(title: str, folder: Path) -> Section:
    """Return the section of a folder of a spectrum."""
    found = read_json(folder / _RESULT)
    curve = _columns(folder / _CURVE)
    with reading(folder / _CURVE, "spectrum"):
        (along, x), (height, y) = list(curve.items())[:2]
        what = f"{found.get('kind', '')} spectrum".strip().capitalize().replace("Ir ", "Infrared ")
        drawn: list[Markup] = [
            chart(Labels(what, along, height), [Series("", x, y)], right_to_left=True)
        ]
    if (folder / _STICKS).is_file():
        drawn += _sticks(_columns(folder / _STICKS), along, x)
    return Section(title, "", [_facts(found), figures(*drawn)])


def _sticks(columns: dict[str, np.ndarray], along: str, x: np.ndarray) -> list[Markup]:
    """Return the lines below a spectrum, over the same range."""
    heights = [name for name in columns if name.startswith("strength")]
    if along not in columns or not heights:
        return []
    places = np.append(columns[along], x[[0, -1]])
    strengths = np.append(columns[heights[0]], [0.0, 0.0])
    labels = Labels("Lines", along, heights[0], "Where the modes lie, and how strong each is.")
    return [chart(labels, [Series("", places, strengths, "sticks")], right_to_left=True)]


def _columns(path: Path) -> dict[str, np.ndarray]:
    """Read a table of numbers; units in the headings stand in round brackets."""
    with reading(path, "table of numbers"), path.open(encoding="utf-8", newline="") as file:
        heading, *lines = csv.reader(file)
        values = np.array([[float(cell or "nan") for cell in line] for line in lines])
        values = values.reshape(len(lines), len(heading))
    names = [name.replace("[", "(").replace("]", ")").replace("^-1", "⁻¹") for name in heading]
    return dict(zip(names, values.T, strict=True))


def _facts(found: dict[str, Any]) -> Markup:
    words = ("formula", "model", "level", "method", "optics")
    return facts([(word, None if found.get(word) is None else str(found[word])) for word in words])
