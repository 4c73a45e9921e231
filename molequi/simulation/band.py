"""A nudged elastic band that comes to rest, and goes on to the last bit where it was interrupted.

Its tangents are those of G. Henkelman and H. Jonsson, J. Chem. Phys. 113, 9978, 2000, and its
highest image climbs (G. Henkelman, B. P. Uberuaga, H. Jonsson, J. Chem. Phys. 113, 9901, 2000). It
moves by ASE's FIRE (E. Bitzek et al., Phys. Rev. Lett. 97, 170201, 2006).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.mep import NEB
from ase.optimize import FIRE

from molequi.errors import RunInterruptedError
from molequi.runtime.journal import LineJournal
from molequi.runtime.signals import SignalWatch

Progress = Callable[[str, int, float], None]

STEPS_BETWEEN_SAVES = 5
_SPRING = 0.1  # eV/Å²
_ROUGH = 0.3  # eV/Å: until then no image climbs
_OF_FIRE = ("dt", "a", "Nsteps", "nsteps")


class Rest(NamedTuple):
    """How a band came to rest. left: eV/Å, the largest force. steps: made."""

    left: float
    steps: int


class _Elastic(NEB):
    """ASE's band, whose forces are computed once for a place and depend on it alone.

    Images are laid upon each other where they have moved; ASE does it with every call for forces.
    """

    def __init__(self, images: list[Atoms], *, climb: bool) -> None:
        super().__init__(
            images, k=_SPRING, climb=climb, method="improvedtangent", allow_shared_calculator=True
        )
        self._places, self._forces = np.zeros(0), np.zeros(0)

    def set_positions(self, positions: np.ndarray) -> None:  # type: ignore[override]
        """Move the images between the ends."""
        super().set_positions(positions)
        _lay_upon_each_other(self.images)

    def get_forces(self) -> np.ndarray:
        """Return the forces on the images between the ends, eV/Å."""
        places = np.array([image.positions for image in self.images])
        if not np.array_equal(places, self._places):
            self._places, self._forces = places, super().get_forces()
        return self._forces.copy()


def _lay_upon_each_other(images: list[Atoms]) -> None:
    """Turn and shift each image onto the one before, where nothing is periodic."""
    if not images[0].pbc.any():
        for before, image in itertools.pairwise(images):
            minimize_rotation_and_translation(before, image)


def settle(
    images: list[Atoms],
    fmax: float,
    steps: int,
    journal: LineJournal | None,
    progress: Progress | None,
) -> Rest:
    """Let the band come to rest, first without and then with a climbing image; images are moved.

    fmax: eV/Å. steps: at most. journal: where moments of the band are kept; the last of those that
    it has is where this begins. Raises RunInterruptedError where SIGINT or SIGTERM asked to stop.
    """
    saved = {} if journal is None else _last(journal)
    n_steps, left = saved.get("before", 0), np.inf
    if not saved:
        _lay_upon_each_other(images)
    phases = ((False, max(_ROUGH, fmax)), (True, fmax))
    with SignalWatch() as watch:
        for climb, enough in phases[1:] if saved.get("climb") else phases:
            neb = _Elastic(images, climb=climb)
            optimizer = FIRE(neb, logfile=None)
            if saved:
                _stand(images, optimizer, saved)
            saved = {}
            for _ in optimizer.irun(fmax=enough, steps=steps - n_steps - optimizer.nsteps):
                left = float(neb.get_residual())
                if progress is not None:
                    what = "climbing" if climb else "band"
                    progress(what, n_steps + optimizer.nsteps, left)
                moment = {"climb": climb, "before": n_steps, **_moment(images, optimizer)}
                _keep(moment, journal, watch)
            n_steps += optimizer.nsteps
    return Rest(left, n_steps)


def _last(journal: LineJournal) -> dict[str, Any]:
    """Return the last moment of a journal; nothing where there is none."""
    last: dict[str, Any] = {}
    for line in journal.lines():
        last = dict(line.entry)
    return last


def _keep(moment: dict[str, Any], journal: LineJournal | None, watch: SignalWatch) -> None:
    """Save a moment where that is due, and stop where a signal asks for it."""
    is_due = watch.number or moment["nsteps"] % STEPS_BETWEEN_SAVES == 0
    if journal is not None and is_due:
        journal.append(moment)
    if watch.number:
        kept = (
            "nothing is kept, for there is no output"
            if journal is None
            else f"the band is in {journal.path}, the same command goes on"
        )
        step = moment["before"] + moment["nsteps"]
        text = f"path stopped by {watch.name} at step {step}; {kept}"
        raise RunInterruptedError(text, watch.number)


def _moment(images: list[Atoms], optimizer: FIRE) -> dict[str, Any]:
    """Return all that the band and its optimizer must know to go on."""
    return {
        "positions": [image.positions.tolist() for image in images],
        "velocity": None if optimizer.vel is None else optimizer.vel.tolist(),
        **{name: getattr(optimizer, name) for name in _OF_FIRE},
    }


def _stand(images: list[Atoms], optimizer: FIRE, saved: Mapping[str, Any]) -> None:
    """Let the band and its optimizer stand where they stood at a saved moment."""
    for image, positions in zip(images, saved["positions"], strict=True):
        image.positions = np.array(positions)
    optimizer.vel = None if saved["velocity"] is None else np.array(saved["velocity"])
    for name in _OF_FIRE:
        setattr(optimizer, name, saved[name])
