"""A trajectory: is the energy kept, how hot is it, how sure is the model, and the film."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from molequi.prediction.records import max_force
from molequi.properties import DEBYE
from molequi.report.charts import Labels, Series, chart
from molequi.report.markup import Markup
from molequi.report.molecules import Scene, Snapshot, viewer, with_room
from molequi.report.page import Section, figures, paragraph
from molequi.report.structures import (
    FORCE_UNIT,
    doubt_of,
    info_of,
    is_number,
    length_text,
    model_of,
    results_of,
    snapshot_of,
)
from molequi.report.tables import facts
from molequi.runtime.wording import counted
from molequi.structures.structure import Structure
from molequi.structures.symbols import formula

MOST_FRAMES = 150
_FS = "time_fs"


@dataclasses.dataclass(frozen=True)
class Film:
    """What was read of a trajectory.

    values: by name a number of every frame, NaN where a frame has none: time_fs (fs), potential and
    kinetic (eV), temperature (K), force and forces_std (eV/Å, the largest), energy_std (eV), dipole
    (D). snapshots: some frames, evenly. first, last: the structures themselves. n_failed: frames
    that could not be read. n_other: frames of other atoms than the first, which are left out.
    """

    values: Mapping[str, np.ndarray]
    snapshots: Sequence[Snapshot]
    first: Structure
    last: Structure
    n_failed: int
    n_other: int


def is_trajectory(first: Sequence[Structure], suffix: str) -> bool:
    """Tell whether structures follow each other in time, by the first two and the file's suffix."""
    frames = [one.atoms for one in first[:2] if one.atoms is not None]
    if len(frames) < 2:
        return False
    is_timed = info_of(first[1], _FS) is not None
    if is_timed and info_of(first[0], "index") is not None:  # of several that were run together
        return True
    is_moving = is_timed or suffix == ".traj" or all(one.has("momenta") for one in frames)
    return is_moving and np.array_equal(*(one.numbers for one in frames))


def read_film(structures: Iterable[Structure]) -> Film:
    """Read a trajectory frame by frame; only numbers and some frames are kept.

    Raises ValueError where there is no frame at all.
    """
    rows: list[dict[str, float]] = []
    kept = _Some()
    ends: list[Structure] = []
    n_failed = n_other = 0
    for structure in structures:
        if structure.atoms is None:
            n_failed += 1
            continue
        if ends and not np.array_equal(structure.atoms.numbers, ends[0].require_atoms().numbers):
            n_other += 1
            continue
        ends = [*ends[:1], structure]
        rows.append(_measured(structure))
        kept.offer(structure, rows[-1])
    if not ends:
        raise ValueError("a trajectory has frames")
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
    return Film(values, kept.snapshots(), ends[0], ends[-1], n_failed, n_other)


class _Some:
    """Some frames of a trajectory whose length is not known yet, at even distances."""

    def __init__(self) -> None:
        self._kept: list[Snapshot] = []
        self._every, self._number = 1, 0

    def offer(self, structure: Structure, row: Mapping[str, float]) -> None:
        """Keep a frame where it is its turn; of too many every second one stays."""
        if self._number % self._every == 0:
            self._kept.append(snapshot_of(structure, _moment(row, self._number)))
        self._number += 1
        if len(self._kept) > 2 * MOST_FRAMES:
            self._kept, self._every = self._kept[::2], 2 * self._every

    def snapshots(self) -> list[Snapshot]:
        """Return as many as a page has room for."""
        room = with_room([len(one.numbers) for one in self._kept], len(self._kept))
        return self._kept[:: -(-len(self._kept) // max(min(room, MOST_FRAMES), 1))]


def trajectory_section(title: str, film: Film, name: str) -> Section:
    """Return the section of a trajectory. name: of the viewer."""
    n_frames = len(next(iter(film.values.values())))
    x, unit = _times(film)
    stopped = info_of(film.last, "stopped")
    content: list[Markup | None] = [
        paragraph(str(stopped), "warning") if stopped else None,
        paragraph(f"{counted(film.n_failed, 'frame')} cannot be read.", "warning")
        if film.n_failed
        else None,
        paragraph(f"{counted(film.n_other, 'frame')} of other atoms left out.", "warning")
        if film.n_other
        else None,
        _facts(film, n_frames),
        figures(*_charts(film, x, f"time ({unit})" if unit else "frame")),
    ]
    units = {"forces": FORCE_UNIT} if film.snapshots[0].arrows else {}
    scene = Scene(film.snapshots, units, is_motion=True, shown=("dipole",))
    shown = f"{len(film.snapshots)} of {counted(n_frames, 'frame')}"
    caption = f"{shown}, each moved to the middle of the picture."
    content.append(viewer(scene, name, caption))
    return Section(title, "", content)


def _measured(structure: Structure) -> dict[str, float]:
    atoms, results = structure.require_atoms(), results_of(structure)
    found: dict[str, Any] = {
        _FS: info_of(structure, _FS),
        "temperature": info_of(structure, "temperature"),
        "energy_std": info_of(structure, "energy_std"),
        "potential": results.get("energy"),
        "forces_std": doubt_of(structure),
    }
    if "momenta" in atoms.arrays:
        found["kinetic"] = atoms.get_kinetic_energy()
        if found["temperature"] is None:  # another program's file
            found["temperature"] = atoms.get_temperature()
    if "forces" in results:
        found["force"] = max_force(results["forces"])
    if "dipole" in results:
        found["dipole"] = np.linalg.norm(results["dipole"]) / DEBYE
    numbers = {name: float(value) for name, value in found.items() if is_number(value)}
    return {"frame": float(structure.index), **numbers}


def _moment(row: Mapping[str, float], number: int) -> str:
    return f"{row[_FS]:g} fs" if _FS in row else f"frame {number}"


def _times(film: Film) -> tuple[np.ndarray, str]:
    """Return the places of the frames along x, and their unit: none of plain numbers."""
    times = film.values.get(_FS)
    if times is None or not np.isfinite(times).all():
        return film.values["frame"], ""
    return (times / 1000.0, "ps") if times.max() >= 2000.0 else (times, "fs")


def _slope(film: Film) -> float | None:
    """Return the slope of a straight line through the total energy of the frames, meV/atom/ps."""
    times, total = film.values.get(_FS), _total(film)
    if times is None or total is None:
        return None
    is_known = np.isfinite(times) & np.isfinite(total)
    times, total = times[is_known], total[is_known]
    if len(total) < 3 or np.ptp(times) == 0:
        return None
    n_atoms = len(film.first.require_atoms())
    return float(np.polyfit(times / 1000.0, 1000.0 * total / n_atoms, 1)[0])


def _changes(values: np.ndarray) -> np.ndarray:
    """Return values less the first of them that is a number."""
    known = values[np.isfinite(values)]
    return values - known[0] if len(known) else values


def _total(film: Film) -> np.ndarray | None:
    if not {"potential", "kinetic"} <= set(film.values):
        return None
    return film.values["potential"] + film.values["kinetic"]


def _facts(film: Film, n_frames: int) -> Markup:
    atoms, values = film.first.require_atoms(), film.values
    times, heat = values.get(_FS), values.get("temperature")
    found = info_of(film.first, "ensemble")
    ensemble = "" if found is None else str(found)
    # A thermostat moves the energy; where nobody tells, there may have been one.
    slope = _slope(film) if ensemble in {"", "nve"} else None
    what = "drift" if ensemble else "change"
    return facts(
        [
            ("structure", f"{formula(atoms)}, {counted(len(atoms), 'atom')}"),
            ("model", model_of(film.first)),
            ("ensemble", ensemble),
            ("frames", n_frames),
            ("length", None if times is None else length_text(times[-1] / 1000.0, "ps")),
            ("mean temperature", None if heat is None else f"{np.nanmean(heat):.1f} K"),
            (f"{what} of the total energy", length_text(slope, "meV/atom/ps")),
        ]
    )


def _charts(film: Film, x: np.ndarray, along: str) -> list[Markup | None]:
    values, n_atoms = film.values, len(film.first.require_atoms())
    total = _total(film)
    per_atom = 1000.0 / n_atoms
    return [
        None
        if total is None
        else chart(
            Labels("Total energy", along, "change (meV/atom)", _KEPT),
            [Series("", x, per_atom * _changes(total))],
        ),
        _energies(values, x, along, per_atom),
        _one(values, "temperature", x, Labels("Temperature", along, "temperature (K)", _HEAT)),
        _one(values, "force", x, Labels("Largest force on an atom", along, "force (eV/Å)", _FORCE)),
        _one(values, "forces_std", x, Labels("Doubt about forces", along, "± (eV/Å)", _DOUBT)),
        _one(
            {"energy_std": 1000.0 * values.get("energy_std", np.zeros(0))},
            "energy_std",
            x,
            Labels("Doubt about the energy", along, "± (meV)", _ENERGY_DOUBT),
        ),
        _one(values, "dipole", x, Labels("Dipole moment", along, "dipole (D)", _DIPOLE)),
    ]


_KEPT = (
    "Potential and kinetic energy together, from the first frame on. At constant energy (NVE) it "
    "should stay level; a thermostat lets it wander."
)
_EXCHANGE = "Each from the first frame on: what one loses, the other gains."
_HEAT = "Of the motion of the atoms at each moment."
_FORCE = "The longest force in each frame."
_DIPOLE = "Its length in each frame."
_DOUBT = "The model's own estimate of its error, largest atom of each frame."
_ENERGY_DOUBT = "The model's own estimate of its error. A rise says that the molecule went astray."


def _energies(
    values: Mapping[str, np.ndarray], x: np.ndarray, along: str, per_atom: float
) -> Markup | None:
    shown = [
        Series(name, x, per_atom * _changes(values[name]), tone=tone)
        for tone, name in enumerate(("potential", "kinetic"))
        if name in values
    ]
    labels = Labels("Potential and kinetic energy", along, "change (meV/atom)", _EXCHANGE)
    return chart(labels, shown) if shown else None


def _one(
    values: Mapping[str, np.ndarray], name: str, x: np.ndarray, labels: Labels
) -> Markup | None:
    found = values.get(name)
    if found is None or not len(found) or not np.isfinite(found).any():
        return None
    return chart(labels, [Series("", x, found)])
