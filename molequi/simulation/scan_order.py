"""In which order the points of a scan are computed, and from which geometry each begins."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

# eV. A point that is lower by less lies in the same valley; what relaxations leave is smaller.
_LOWER = 1e-3


class Trial(NamedTuple):
    """A point to compute, begun from the geometry of a neighbour, or None: from the structure."""

    point: int
    source: int | None


class Order:
    """Hands out trials: outwards from the first point, then wherever a neighbour lies lower.

    A relaxed point depends on the geometry that it begins from: going up and going down the same
    coordinate may lead through different valleys. With `both_ways` a geometry that is new or lower
    at a point is tried at its neighbours, until nothing sinks any more (as in a wavefront; Qiu,
    Smith, Stern, Feng, Jang, Wang, J. Chem. Phys. 152 (2020) 244116). Without it, every point is
    computed once.

    is_circle: the last point is a neighbour of the first.
    """

    def __init__(self, n_points: int, first: int, *, is_circle: bool, both_ways: bool) -> None:
        self.is_circle, self.both_ways = is_circle, both_ways
        self.made = 0
        self._energies = np.full(n_points, np.inf)
        self._waiting = deque([Trial(first, None)])

    @property
    def expected(self) -> int:
        """How many trials there will be, as far as can be told."""
        least = len(self._energies) * (2 if self.both_ways else 1)
        return max(least, self.made + len(self._waiting)) if self._waiting else self.made

    def following(self) -> Trial | None:
        """Return the next trial, None where all is done."""
        while self._waiting:
            trial = self._waiting.popleft()
            if self.both_ways or not np.isfinite(self._energies[trial.point]):
                return trial
        return None

    def take(self, trial: Trial, energy: float) -> bool:
        """Take the energy, eV, that a trial came to; tell whether the point keeps its geometry."""
        self.made += 1
        if not energy < self._energies[trial.point] - _LOWER:
            return False
        self._energies[trial.point] = energy
        for neighbour in self._neighbours(trial.point):
            onward = Trial(neighbour, trial.point)
            is_known = np.isfinite(self._energies[neighbour])
            if (self.both_ways or not is_known) and onward not in self._waiting:
                self._waiting.append(onward)
        return True

    def _neighbours(self, point: int) -> list[int]:
        n_points = len(self._energies)
        beside = [point + 1, point - 1]
        if self.is_circle:
            return list(dict.fromkeys(place % n_points for place in beside if n_points > 1))
        return [place for place in beside if 0 <= place < n_points]
