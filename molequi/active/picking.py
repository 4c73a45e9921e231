"""Which frames of dynamics are labelled: doubted ones, and no two that are nearly the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from ase import Atoms

from molequi.active.geometry import shape_of

# Frames among which the usual distance between two is measured.
_SAMPLED = 60
# Closer than this part of the usual distance, a frame is one that is there already.
_SAME = 0.15


class Pool(NamedTuple):
    """Frames of dynamics of F moments, in the order of copies and steps.

    doubts: (F,), eV/Å, the largest `forces_std` of an atom of each. means: (F,), eV/Å, their root
    mean square over the atoms, which goes along better with the error of a frame.
    """

    frames: Sequence[Atoms]
    doubts: np.ndarray
    means: np.ndarray


class Picker(Protocol):
    """Who chooses."""

    def __call__(self, pool: Pool, labelled: Sequence[Atoms], n: int) -> list[int]:
        """Return at most `n` numbers of frames. labelled: what has labels already."""


def evenly(pool: Pool, labelled: Sequence[Atoms], n: int) -> list[int]:
    """Pick frames at even distances in time, whatever their doubt; none where dynamics begin."""
    moved = [k for k, frame in enumerate(pool.frames) if frame.info["molequi_step"]]
    places = np.linspace(0, len(moved) - 1, min(n, len(moved)))
    return [moved[place] for place in places.round().astype(int)]


class Doubted(NamedTuple):
    """Picks frames that are doubted by more than a threshold, eV/Å, one after the other.

    Always the one whose mean doubt, times its distance from what is labelled or picked, is largest.
    The distance counts in units of the usual one between frames of that composition, and as one
    where it is larger: then doubt alone decides.
    """

    threshold: float

    def __call__(self, pool: Pool, labelled: Sequence[Atoms], n: int) -> list[int]:
        """Return the numbers of the picked frames, the most wanted one first."""
        candidates = np.flatnonzero(pool.doubts > self.threshold).tolist()
        novelty = _Novelty([pool.frames[k] for k in candidates])
        for atoms in labelled:
            novelty.see(atoms)
        picked: list[int] = []
        doubts = pool.means[candidates]
        while len(picked) < min(n, len(candidates)):
            worth = np.where(novelty.distances > _SAME, doubts * novelty.distances, 0.0)
            best = int(worth.argmax())
            if not worth[best]:
                break
            picked.append(candidates[best])
            novelty.see(pool.frames[candidates[best]])
        return picked


class _Novelty:
    """How far each of some frames is from everything that was seen, from 0, the same, to 1."""

    def __init__(self, frames: Sequence[Atoms]) -> None:
        self.distances = np.ones(len(frames))
        names = [_composition(atoms) for atoms in frames]
        self._members = {
            name: np.array([k for k, own in enumerate(names) if own == name])
            for name in dict.fromkeys(names)
        }
        self._shapes = {
            name: np.stack([shape_of(frames[k]) for k in rows])
            for name, rows in self._members.items()
        }
        self._usual = {name: _usual_distance(shapes) for name, shapes in self._shapes.items()}

    def see(self, atoms: Atoms) -> None:
        """Take a structure for known."""
        name = _composition(atoms)
        if name not in self._members:
            return
        away = np.linalg.norm(self._shapes[name] - shape_of(atoms), axis=1) / self._usual[name]
        rows = self._members[name]
        self.distances[rows] = np.minimum(self.distances[rows], away)


def _composition(atoms: Atoms) -> bytes:
    return np.sort(atoms.numbers).tobytes()


def _usual_distance(shapes: np.ndarray) -> float:
    """Return the median distance between descriptions (F, P); of a single one anything will do."""
    some = shapes[:: max(1, len(shapes) // _SAMPLED)]
    away = np.linalg.norm(some[:, None] - some[None], axis=2)[np.triu_indices(len(some), k=1)]
    return max(float(np.median(away)) if len(away) else 1.0, 1e-9)
