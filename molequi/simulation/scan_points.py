"""The points of a scan: each is kept as soon as it is there."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import RunInterruptedError, UserError
from molequi.prediction.records import max_force
from molequi.runtime.journal import LineJournal
from molequi.runtime.plain import plain
from molequi.runtime.signals import SignalWatch
from molequi.simulation.coordinates import (
    Coordinate,
    bond_matrix,
    held,
    moving_side,
    set_value,
    value_of,
)
from molequi.simulation.movers import fingerprint
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.scan_order import Order, Trial
from molequi.version import __version__

_NAMES = {"bond": "a bond", "angle": "an angle", "torsion": "a torsion"}
_SAME_VALUE = 1e-3  # Å or degrees
_UNITS = {"bond": "Å", "angle": "degrees", "torsion": "degrees"}


@dataclasses.dataclass(frozen=True)
class ScanSettings:
    """What is scanned. kind: bond, angle or torsion. atoms: as `0-1-2-3`.

    start, stop: Å or degrees; by default from where the structure is, and for a torsion from -180
    to 180, a full turn as from a start without a stop. points: with both ends. rigid: move one side
    as a piece and relax nothing. fmax (eV/Å), steps: of the relaxation of every point. both_ways:
    whether a point is tried from both its neighbours; None: torsions are. Raises UserError for what
    makes no scan.
    """

    kind: str
    atoms: str
    start: float | None = None
    stop: float | None = None
    points: int = 25
    rigid: bool = False
    fmax: float = 0.01
    steps: int = 300
    both_ways: bool | None = None

    def __post_init__(self) -> None:
        if self.kind not in {"bond", "angle", "torsion"}:
            raise UserError(f"kind {self.kind!r} is unknown; choose bond, angle or torsion")
        if self.points < 2:
            raise UserError(f"points is {self.points}; a scan has at least 2")
        if self.stop is None and self.kind != "torsion":
            raise UserError(
                f"a scan of {_NAMES[self.kind]} needs its end (--to); a torsion turns once"
            )
        if not self.fmax > 0 or self.steps < 1:
            raise UserError(
                f"fmax is {self.fmax} eV/Å and steps {self.steps}; both must be positive"
            )
        for value in (self.start, self.stop):
            limits = {"bond": (0.3, 100.0), "angle": (1.0, 179.0), "torsion": (-720.0, 720.0)}
            low, high = limits[self.kind]
            if value is not None and not low <= value <= high:
                raise UserError(
                    f"a scan of {_NAMES[self.kind]} lies between {low:g} and {high:g} "
                    f"{_UNITS[self.kind]}, not at {value:g}"
                )

    def values(self, now: float) -> np.ndarray:
        """Return the values of the coordinate at every point; now: where it is."""
        if self.start is None:
            start = -180.0 if self.stop is None else now
        else:
            start = self.start
        stop = start + 360.0 if self.stop is None else self.stop
        return np.linspace(start, stop, self.points)

    def order(self, values: np.ndarray, now: float) -> Order:
        """Return the order of these points, from the one nearest to now.

        Of a full turn, whose last point is the first one again, the last is left out.
        """
        is_circle = self.kind == "torsion" and bool(np.isclose(np.ptp(values), 360.0))
        away = np.abs(values[: len(values) - is_circle] - now)
        if self.kind == "torsion":
            away = np.abs((away + 180.0) % 360.0 - 180.0)
        both = self.kind == "torsion" if self.both_ways is None else self.both_ways
        first = int(away.argmin())
        return Order(len(away), first, is_circle=is_circle, both_ways=both and not self.rigid)


def make_scan(
    atoms: Atoms,
    coordinate: Coordinate,
    settings: ScanSettings,
    progress: Callable[[int, int], None] | None,
) -> Scan:
    """Return a scan whose points are still to be computed."""
    now = value_of(atoms, coordinate)
    values = settings.values(now)
    return Scan(atoms, coordinate, values, settings, settings.order(values, now), progress)


def moving_atoms(atoms: Atoms, coordinate: Coordinate, *, rigid: bool) -> np.ndarray:
    """Return the atoms that are moved to a new value: one side, or in a ring the last atom."""
    side = moving_side(atoms, coordinate)
    if side is not None:
        return side
    if rigid:
        bonds = bond_matrix(atoms)
        if not all(bonds[one, two] for one, two in itertools.pairwise(coordinate.atoms)):
            raise UserError(
                f"the atoms of the {coordinate.kind} {coordinate.text} are in one piece but not "
                "bonded in a row: no side can be moved as a piece; choose bonded atoms, or leave "
                "out --rigid"
            )
        raise UserError(
            f"the {coordinate.kind} {coordinate.text} is part of a ring, of which no side can be "
            "moved as a piece; leave out --rigid"
        )
    alone = np.zeros(len(atoms), dtype=bool)
    alone[coordinate.atoms[-1]] = True
    return alone


@dataclasses.dataclass
class Scan:
    """A scan under way. values: of every point, the last of a full turn among them.

    points: those that are there, by their numbers. lowered: those that a second way found lower.
    """

    atoms: Atoms
    coordinate: Coordinate
    values: np.ndarray
    settings: ScanSettings
    order: Order
    progress: Callable[[int, int], None] | None
    points: dict[int, dict[str, Any]] = dataclasses.field(default_factory=dict)
    lowered: set[int] = dataclasses.field(default_factory=set)

    def run(self, journal: LineJournal | None) -> tuple[list[dict[str, Any]], int]:
        """Make every trial, or take it from the journal of an interrupted run.

        Returns the points, and how many were found to lie lower from their other side.
        """
        kept = [] if journal is None else [line.entry for line in journal.lines()]
        with SignalWatch() as watch:
            while (trial := self.order.following()) is not None:
                if self.order.made < len(kept):
                    self._take(trial, kept[self.order.made])
                elif watch.number:
                    raise _interrupted(watch, self.order.made, journal)
                else:
                    self._make(trial, journal)
        found = [self.points[number] for number in sorted(self.points)]
        if self.order.is_circle:
            found.append({**found[0], "value": float(self.values[-1])})
        return found, len(self.lowered)

    def _make(self, trial: Trial, journal: LineJournal | None) -> None:
        begin = self.atoms.copy()
        begin.calc = self.atoms.calc
        if trial.source is not None:
            begin.positions = np.array(self.points[trial.source]["positions"])
        value = float(self.values[trial.point])
        point = _point(begin, self.coordinate, value, self.settings)
        if journal is not None:
            journal.append(point)
        self._take(trial, point)
        if self.progress is not None:
            self.progress(self.order.made, self.order.expected)

    def _take(self, trial: Trial, point: dict[str, Any]) -> None:
        point.pop("crc32", None)  # of a line of the journal
        if self.order.take(trial, point["energy"]):
            self.lowered |= {trial.point} & set(self.points)
            self.points[trial.point] = point

    def identity(self) -> dict[str, Any]:
        """Return what must agree for a journal to be gone on with."""
        atoms, settings = self.atoms, self.settings
        return {
            "version": __version__,
            "weights": atoms.calc.model.digest(),
            "structure": fingerprint(atoms, atoms.calc),
            "coordinate": self.coordinate.text,
            "values": self.values.tolist(),
            "both_ways": self.order.both_ways,
            "rigid": settings.rigid,
            "fmax": settings.fmax,
            "steps": settings.steps,
        }


def _interrupted(
    watch: SignalWatch, n_made: int, journal: LineJournal | None
) -> RunInterruptedError:
    kept = "nothing is kept" if journal is None else f"they are in {journal.path}"
    return RunInterruptedError(
        f"scan stopped by {watch.name} after {n_made} points; {kept}, the same command goes on",
        watch.number,
    )


def _point(
    atoms: Atoms, coordinate: Coordinate, value: float, settings: ScanSettings
) -> dict[str, Any]:
    """Return the point at a value, begun from this structure."""
    moved = atoms.copy()
    moved.calc = atoms.calc
    set_value(moved, coordinate, value, moving_atoms(moved, coordinate, rigid=settings.rigid))
    converged = True
    _require_at(value, moved, coordinate)
    if not settings.rigid:
        moved.set_constraint(held(coordinate, value))
        moved, converged = _relaxed(moved, coordinate, value, settings)
        _require_at(value, moved, coordinate)
    point = {
        "value": value,
        "energy": float(moved.get_potential_energy()),
        "converged": converged,
        "fmax": max_force(moved.get_forces()),
        "forces": moved.get_forces(apply_constraint=False),
        "positions": moved.positions,
    }
    return dict(plain(point))


def _relaxed(
    moved: Atoms, coordinate: Coordinate, value: float, settings: ScanSettings
) -> tuple[Atoms, bool]:
    """Relax all but the coordinate. Raises UserError where it cannot be held."""
    try:
        # ASE's search for positions that hold it divides by zero on its way, and overflows.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            moved, converged, _, _ = relax_atoms(moved, fmax=settings.fmax, steps=settings.steps)
    except (ValueError, ZeroDivisionError) as error:
        # The second: of a torsion whose inner angle opens to 180° on the way.
        is_of_holding = str(error).startswith(("FixInternals", "Undefined derivative"))
        if not is_of_holding:
            raise
        raise _not_held(coordinate, value) from error
    return moved, converged


def _require_at(value: float, moved: Atoms, coordinate: Coordinate) -> None:
    """Raise UserError where the coordinate has another value than its point is to have."""
    away = abs(value_of(moved, coordinate) - value)
    if coordinate.kind == "torsion":
        away = abs((away + 180.0) % 360.0 - 180.0)
    if not away < _SAME_VALUE:
        raise _not_held(coordinate, value)


def _not_held(coordinate: Coordinate, value: float) -> UserError:
    return UserError(
        f"the {coordinate.kind} {coordinate.text} cannot be held at {value:.3f} "
        f"{coordinate.unit} while all else relaxes; choose atoms that are bonded in a row, a "
        "narrower range, or --rigid"
    )
