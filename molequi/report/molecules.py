"""Molecules as the viewer of a page takes them: atoms, arrows at atoms, dipoles, modes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from molequi.report.markup import Markup, element, embedded_json

_DIGITS = 3  # behind the point, of Å; and of arrows in units of the longest
# Atoms in all frames of one viewer, beyond which a page would take long to open.
MOST_ATOMS = 60_000


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """One structure to look at.

    positions: (N, 3), Å. numbers: (N,). arrows: by name, vectors of each atom, (N, 3), in the unit
    that `Scene` says. dipole: (3,), e·Å, or None. cell: (3, 3), Å, of a periodic structure.
    notes: names and values to stand below.
    """

    title: str
    numbers: np.ndarray
    positions: np.ndarray
    arrows: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    dipole: np.ndarray | None = None
    cell: np.ndarray | None = None
    notes: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True)
class Scene:
    """What one viewer shows.

    units: of the arrows, by name; one is drawn as Å where it is that. is_motion: whether
    the snapshots follow each other in time and play like a film. modes: displacements of the first
    snapshot's atoms, (N, 3), Å, by title, which swing instead.
    """

    snapshots: Sequence[Snapshot]
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    is_motion: bool = False
    modes: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    shown: Sequence[str] = ("forces", "dipole")


def viewer(scene: Scene, name: str, caption: str) -> Markup:
    """Return the figure that page.js fills with a picture to turn. name: its own on the page."""
    data = element("script", embedded_json(_document(scene)), type="application/json", id=name)
    stage = element(
        "div",
        element("p", "The picture needs JavaScript and WebGL.", class_="without"),
        class_="stage",
        tabindex=0,
        role="img",
        aria_label=caption,
    )
    return element(
        "figure",
        element("div", stage, element("div", class_="controls"), class_="viewer", data_scene=name),
        element("figcaption", caption),
        data,
        class_="wide",
    )


def with_room(sizes: Sequence[int], most: int) -> int:
    """Return how many of the first structures, of so many atoms each, a viewer has room for."""
    sums = itertools.accumulate(sizes[:most])
    return max(sum(total <= MOST_ATOMS for total in sums), min(len(sizes), 1))


def _document(scene: Scene) -> dict[str, Any]:
    return {
        "frames": [_frame(snapshot) for snapshot in scene.snapshots],
        "units": dict(scene.units),
        "motion": scene.is_motion,
        "shown": list(scene.shown),
        "modes": [{"title": title, "move": _rounded(move)} for title, move in scene.modes.items()],
    }


def _frame(snapshot: Snapshot) -> dict[str, Any]:
    positions = np.asarray(snapshot.positions, dtype=float)
    middle = positions.mean(axis=0) if len(positions) else np.zeros(3)
    if snapshot.cell is not None:
        middle = snapshot.cell.sum(axis=0) / 2
    found: dict[str, Any] = {
        "title": snapshot.title,
        "symbols": [chemical_symbols[number] for number in snapshot.numbers],
        "positions": np.round(positions - middle, _DIGITS),
        "notes": [list(note) for note in snapshot.notes],
        "arrows": {name: _rounded(value) for name, value in snapshot.arrows.items()},
    }
    if snapshot.dipole is not None:
        found["dipole"] = _rounded(snapshot.dipole)
    if snapshot.cell is not None:
        found["cell"] = np.round(snapshot.cell, _DIGITS)
    return found


def _rounded(values: np.ndarray) -> np.ndarray:
    """Round to digits that one can see in the longest of the arrows, however short it is."""
    values = np.nan_to_num(np.asarray(values, dtype=float))
    longest = float(np.abs(values).max(initial=0.0))
    return values if longest == 0 else np.round(values, _DIGITS - math.floor(math.log10(longest)))
