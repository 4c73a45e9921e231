"""Reaction paths: a nudged elastic band between two structures, and the saddle point on its way.

The band starts by image-dependent pair potentials (S. Smidstrup et al., J. Chem. Phys. 140, 214106,
2014); how it comes to rest is said in `band`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.mep import NEB

from molequi.errors import UserError
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.runtime.journal import kept
from molequi.simulation.band import Progress, settle
from molequi.simulation.calculator import Calculator
from molequi.simulation.constraints import lift_constraints
from molequi.simulation.matching import (
    changed_bonds,
    first_difference,
    laid_upon,
    match,
    nearest_images,
    require_same_cell,
    require_same_formula,
    require_same_state,
    share_isotopes,
)
from molequi.simulation.movers import as_calculator, fingerprint, require_computable
from molequi.simulation.rearrangement import bonds_changed
from molequi.simulation.relaxation import relax_atoms
from molequi.structures.inputs import Input, first_atoms
from molequi.version import __version__

logger = logging.getLogger(__name__)

_END_FORCE = 0.01  # eV/Å
_END_STEPS = 500
_FORMAT = 2  # of the journal
_SAME = 0.02  # Å, of two ends that are one structure


@dataclasses.dataclass(frozen=True)
class PathSettings:
    """How a path is sought. images: between the ends. fmax: eV/Å, of the band. steps: at most.

    relax_ends: begin at the minima next to A and B. match_atoms: put B's atoms in an order that
    fits A. Raises UserError for what makes no path.
    """

    images: int = 9
    fmax: float = 0.05
    steps: int = 500
    relax_ends: bool = True
    match_atoms: bool = False

    def __post_init__(self) -> None:
        if self.images < 3:
            raise UserError(f"images is {self.images}; a band has at least 3 between its ends")
        if not self.fmax > 0 or self.steps < 1:
            raise UserError(
                f"fmax is {self.fmax} eV/Å and steps {self.steps}; both must be positive"
            )


class Band(NamedTuple):
    """The images of a path, ends included. fmax: eV/Å, left. steps: made."""

    images: list[Atoms]
    converged: bool
    fmax: float
    steps: int
    matched: bool


def find_path(
    a: Input, b: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    settings: PathSettings | None = None, *, held: contextlib.ExitStack,
    output: Path | None = None, overwrite: bool = False, progress: Progress | None = None,
) -> tuple[Band, Calculator]:  # fmt: skip
    """Find the path of least energy between two structures of the same atoms.

    A model given by name or path runs in float64. Until the output is written the band stands in
    `OUTPUT.journal`, with which the same call goes on after an interruption (RunInterruptedError).
    held: what the journal is locked until the end of. overwrite: whether the output may be there.
    progress: called with what is done, the step, and the force left, eV/Å. Raises UserError where
    A and B are not of the same atoms in the same order, or end in the same structure.
    """
    settings = settings or PathSettings()
    calculator = as_calculator(model, dtype=torch.float64)
    first, last = first_atoms(a), first_atoms(b)
    matched = _put_in_order(first, last, match_atoms=settings.match_atoms)
    if (end := share_isotopes(first, last)) is not None:
        logger.warning("%s alone names isotopes, which both ends are taken to have", end)
    for name, atoms in (("A", first), ("B", last)):
        require_computable(atoms, calculator, f"{name}: ")
    identity = _identity(first, last, calculator, settings)
    ends = [_end(atoms, calculator, name, settings) for name, atoms in (("A", first), ("B", last))]
    ends[1].positions = (
        nearest_images(ends[0], ends[1])
        if first.pbc.any()
        else laid_upon(ends[0].positions, ends[1].positions)
    )
    if np.abs(ends[0].positions - ends[1].positions).max() < _SAME:
        raise UserError(
            "A and B are the same structure, atom by atom, once relaxed; there is no way to go"
        )
    images = _spanned(ends[0], ends[1], settings.images)
    journal = held.enter_context(kept(output, identity, "path", may_replace=overwrite))
    rest = settle(images, settings.fmax, settings.steps, journal, progress)
    return Band(images, rest.left < settings.fmax, rest.left, rest.steps, matched), calculator


def _spanned(first: Atoms, last: Atoms, count: int) -> list[Atoms]:
    """Return the images of a first band, ends included, with the calculator of the first end."""
    images = [first, *(first.copy() for _ in range(count)), last]
    for image in images:
        image.calc = first.calc
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate(method="idpp", mic=bool(first.pbc.any()))
    return images


def _put_in_order(a: Atoms, b: Atoms, *, match_atoms: bool) -> bool:
    """Give B the order of A where that is asked for; whether its order changed.

    Raises UserError where the elements are not in the same order.
    """
    require_same_formula(a, b)
    require_same_state(a, b)
    require_same_cell(a, b)
    difference = first_difference(a, b)
    if difference is not None and not match_atoms:
        raise UserError(
            f"the atoms of A and B are in different orders: {difference}; give --match to put B's "
            "in the order of A"
        )
    found = match(a, b)
    given = None if difference is not None else changed_bonds(a, b)
    if not match_atoms:
        if given is not None and found.changed < given:
            logger.warning(
                "%d bonds change between A and B as their atoms are numbered, %d in another order "
                "of B's atoms: --match takes that",
                given, found.changed,
            )  # fmt: skip
        return False
    order = found.order
    if given is not None and given <= found.changed:
        return False
    b.positions = b.positions[order]
    b.numbers = b.numbers[order]
    b.set_masses(b.get_masses()[order])
    return True


def _end(atoms: Atoms, calculator: Calculator, name: str, settings: PathSettings) -> Atoms:
    lift_constraints(atoms, "a path is")
    atoms.calc = calculator
    if not settings.relax_ends:
        return atoms
    relaxed = relax_atoms(atoms, fmax=_END_FORCE, steps=_END_STEPS)
    if not relaxed.converged:
        logger.warning(
            "%s did not relax: its largest force is %.3f eV/Å after %d steps",
            name, relaxed.fmax, relaxed.steps,
        )  # fmt: skip
    change = bonds_changed(atoms, relaxed.atoms)
    if change is not None:
        logger.warning("%s is another molecule once relaxed: bonds %s", name, change)
    return relaxed.atoms


def _identity(a: Atoms, b: Atoms, calculator: Calculator, settings: PathSettings) -> dict[str, Any]:
    return {
        "version": __version__,
        "weights": calculator.model.digest(),
        "format": _FORMAT,
        "structures": [fingerprint(atoms, calculator) for atoms in (a, b)],
        "images": settings.images,
        "relax_ends": settings.relax_ends,
    }
