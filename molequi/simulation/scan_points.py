"""The points of a scan: one after the other, each kept as soon as it is there."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import RunInterruptedError, UserError
from molequi.prediction.records import max_force
from molequi.runtime.journal import LineJournal, journal_path
from molequi.runtime.plain import plain
from molequi.runtime.signals import SignalWatch
from molequi.simulation.coordinates import Coordinate, held, moving_side, set_value
from molequi.simulation.relaxation import relax_atoms
from molequi.version import __version__


@dataclasses.dataclass(frozen=True)
class ScanSettings:
    """What is scanned. kind: bond, angle or torsion. atoms: as `0-1-2-3`.

    start, stop: Å or degrees; by default from where the structure is, a full turn for a torsion.
    points: with both ends. rigid: move one side as a piece and relax nothing. fmax (eV/Å), steps:
    of the relaxation of every point. Raises UserError for what makes no scan.
    """

    kind: str
    atoms: str
    start: float | None = None
    stop: float | None = None
    points: int = 25
    rigid: bool = False
    fmax: float = 0.01
    steps: int = 300

    def __post_init__(self) -> None:
        if self.kind not in {"bond", "angle", "torsion"}:
            raise UserError(f"kind {self.kind!r} is unknown; choose bond, angle or torsion")
        if self.points < 2:
            raise UserError(f"points is {self.points}; a scan has at least 2")
        if self.stop is None and self.kind != "torsion":
            raise UserError(f"a scan of a {self.kind} needs its end (--to); a torsion turns once")
        if not self.fmax > 0 or self.steps < 1:
            raise UserError(
                f"fmax is {self.fmax} eV/Å and steps {self.steps}; both must be positive"
            )
        for value in (self.start, self.stop):
            limits = {"bond": (0.3, 100.0), "angle": (1.0, 179.0), "torsion": (-720.0, 720.0)}
            low, high = limits[self.kind]
            if value is not None and not low <= value <= high:
                raise UserError(
                    f"a scan of a {self.kind} lies between {low:g} and {high:g}, not at {value:g}"
                )

    def values(self, now: float) -> np.ndarray:
        """Return the values of the coordinate at every point, from where it is now."""
        start = now if self.start is None else self.start
        stop = start + 360.0 if self.stop is None else self.stop
        return np.linspace(start, stop, self.points)


def scan_points(
    atoms: Atoms,
    coordinate: Coordinate,
    values: np.ndarray,
    settings: ScanSettings,
    output: str | os.PathLike[str] | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Compute the points, those of an interrupted run taken from its journal."""
    if output is None:
        return _computed(atoms, coordinate, values, settings, None, progress)
    path = journal_path(Path(output))
    identity = _identity(atoms, coordinate, values, settings)
    with LineJournal(path, identity, "molequi scan", discard=True) as journal:
        return _computed(atoms, coordinate, values, settings, journal, progress)


def moving_atoms(atoms: Atoms, coordinate: Coordinate, *, rigid: bool) -> np.ndarray:
    """Return the atoms that are moved to a new value: one side, or in a ring the last atom."""
    side = moving_side(atoms, coordinate)
    if side is not None:
        return side
    if rigid:
        raise UserError(
            f"the {coordinate.kind} {coordinate.text} is part of a ring, of which no side can be "
            "moved as a piece; leave out --rigid"
        )
    alone = np.zeros(len(atoms), dtype=bool)
    alone[coordinate.atoms[-1]] = True
    return alone


def _computed(
    atoms: Atoms,
    coordinate: Coordinate,
    values: np.ndarray,
    settings: ScanSettings,
    journal: LineJournal | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    points = [] if journal is None else [line.entry for line in journal.lines()]
    for point in points:
        point.pop("crc32", None)
    current = atoms.copy()
    current.calc = atoms.calc
    with SignalWatch() as watch:
        for value in values[len(points) :].tolist():
            if watch.number:
                kept = "nothing is kept" if journal is None else f"they are in {journal.path}"
                raise RunInterruptedError(
                    f"scan stopped by {watch.name} after {len(points)} points; {kept}, the same "
                    "command goes on",
                    watch.number,
                )
            if points:
                current.positions = np.array(points[-1]["positions"])
            points.append(_point(current, coordinate, value, settings))
            if journal is not None:
                journal.append(points[-1])
            if progress is not None:
                progress(len(points), len(values))
    return points


def _point(
    atoms: Atoms, coordinate: Coordinate, value: float, settings: ScanSettings
) -> dict[str, Any]:
    """Return the point at a value, begun from the structure of the one before."""
    moved = atoms.copy()
    moved.calc = atoms.calc
    set_value(moved, coordinate, value, moving_atoms(moved, coordinate, rigid=settings.rigid))
    converged = True
    if not settings.rigid:
        moved.set_constraint([*atoms.constraints, held(coordinate, value)])
        moved, converged, _, _ = relax_atoms(moved, fmax=settings.fmax, steps=settings.steps)
    point = {
        "value": value,
        "energy": float(moved.get_potential_energy()),
        "converged": converged,
        "fmax": max_force(moved.get_forces()),
        "forces": moved.get_forces(apply_constraint=False),
        "positions": moved.positions,
    }
    return dict(plain(point))


def _identity(
    atoms: Atoms, coordinate: Coordinate, values: np.ndarray, settings: ScanSettings
) -> dict[str, Any]:
    structure = hashlib.sha256(atoms.positions.tobytes() + atoms.numbers.tobytes()).hexdigest()
    return {
        "version": __version__,
        "weights": atoms.calc.model.digest(),
        "structure": structure[:24],
        "coordinate": coordinate.text,
        "values": values.tolist(),
        "rigid": settings.rigid,
        "fmax": settings.fmax,
        "steps": settings.steps,
    }
