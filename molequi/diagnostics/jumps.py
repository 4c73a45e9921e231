"""Jumps of outputs along a path, where no cutoff is known at which to look for them.

On an interval five outputs at equal distances have a fourth difference, which falls as the fourth
power of the width where the output is smooth, as the width where it bends, and not at all where it
jumps. The interval with the largest one is halved until all are negligible, or so narrow that a
jump is all that is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from molequi.diagnostics.model_runner import Deviation, ModelRunner, Outputs, ratio
from molequi.models.structure import Structure

_GAP, _TRAVEL = 2.5, 12.0  # Å: between two copies of a structure at the start, and how far one goes
_GROWTH = 0.15  # of the vectors of a periodic cell
_WIDTH, _NARROW = 0.5, 1e-4  # Å
_RESOLVED, _CERTAIN = 4e-6, 1e-2  # of the scale: below every limit, and far above all
_MOST_HALVINGS = 600  # every pair of atoms that bends the force at a cutoff takes a dozen
_MOST_STRUCTURES = 2
_FOURTH_DIFFERENCE = np.array([1.0, -4.0, 6.0, -4.0, 1.0])


class _Path(NamedTuple):
    """Structures along a length in Å, and the one whose scales count."""

    structure: Structure
    length: float
    at: Callable[[float], Structure]


class _Interval(NamedTuple):
    """Outputs at five points from start to start + width, Å, and what does not fit, by output."""

    start: float
    width: float
    outputs: list[Outputs]
    misfits: dict[str, float]

    @property
    def worst(self) -> float:
        """The largest misfit; infinite where one is not a number."""
        return max(value if np.isfinite(value) else np.inf for value in self.misfits.values())


def jumps(runner: ModelRunner, structures: Sequence[Structure]) -> Iterator[Deviation]:
    """Part two copies of each of the first neutral structures, or let a cell grow."""
    usable = [structure for structure in structures if len(structure.positions) > 1]
    for structure in usable[:_MOST_STRUCTURES]:
        if structure.is_open and (structure.total_charge or structure.spin_multiplicity != 1):
            continue
        path = _separation(structure) if structure.is_open else _growth(structure)
        intervals = _refined(runner, path)
        for name in intervals[0].misfits:
            worst = max(intervals, key=lambda interval: interval.misfits[name])
            what = {"energy": "energy", "forces": "force"}.get(name, "outputs")
            yield Deviation(
                f"{what}_along_separation",
                worst.misfits[name],
                f"{name} of {path.at(worst.start + 0.5 * worst.width).name}",
            )


def _separation(structure: Structure) -> _Path:
    nearest = float(np.ptp(structure.positions[:, 0])) + _GAP
    return _Path(structure, _TRAVEL, lambda s: structure.beside(structure, nearest + s))


def _growth(structure: Structure) -> _Path:
    """Stretch the cell in all directions; a length is that of the longest vector."""
    length = float(np.linalg.norm(structure.cell, axis=1).max())
    return _Path(
        structure,
        _GROWTH * length,
        lambda s: structure.mapped((1.0 + s / length) * np.eye(3)),
    )


def _refined(runner: ModelRunner, path: _Path) -> list[_Interval]:
    n_intervals = int(np.ceil(path.length / _WIDTH))
    width = path.length / n_intervals
    points = runner.observe([path.at(0.25 * width * k) for k in range(4 * n_intervals + 1)])
    intervals = [
        _interval(runner, path, width * k, width, points[4 * k : 4 * k + 5])
        for k in range(n_intervals)
    ]
    for _ in range(_MOST_HALVINGS):
        is_found = any(i.width < _NARROW and i.worst > _CERTAIN for i in intervals)
        wide = [i for i in intervals if i.width >= _NARROW and i.worst > _RESOLVED]
        if is_found or not wide:
            break
        worst = max(wide, key=lambda interval: interval.worst)
        intervals.remove(worst)
        intervals += _halves(runner, path, worst)
    return intervals


def _halves(runner: ModelRunner, path: _Path, whole: _Interval) -> list[_Interval]:
    step, known = 0.125 * whole.width, whole.outputs
    new = runner.observe([path.at(whole.start + step * k) for k in (1, 3, 5, 7)])
    middle = whole.start + 0.5 * whole.width
    first = [known[0], new[0], known[1], new[1], known[2]]
    second = [known[2], new[2], known[3], new[3], known[4]]
    return [
        _interval(runner, path, whole.start, 0.5 * whole.width, first),
        _interval(runner, path, middle, 0.5 * whole.width, second),
    ]


def _interval(
    runner: ModelRunner, path: _Path, start: float, width: float, outputs: list[Outputs]
) -> _Interval:
    misfits = {}
    for name in outputs[0]:
        values = np.array([point[name] for point in outputs])
        misfit = np.abs(np.tensordot(_FOURTH_DIFFERENCE, values, axes=1)).max(initial=0.0)
        misfits[name] = ratio(float(misfit), runner.scale(name, path.structure))
    return _Interval(start, width, outputs, misfits)
