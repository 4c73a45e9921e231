"""A structure at its minimum, with the normal modes of its exact Hessian."""

from __future__ import annotations

import logging
from typing import NamedTuple

from ase import Atoms

from molequi.prediction.records import max_force
from molequi.simulation.calculator import Calculator
from molequi.simulation.constraints import lift_constraints
from molequi.simulation.normal_modes import NormalModes, modes_of
from molequi.simulation.rearrangement import bonds_changed
from molequi.simulation.relaxation import relax_atoms

logger = logging.getLogger(__name__)

_RELAXATION_STEPS = 1000
_MAX_FORCE_WITHOUT_RELAXATION = 0.05


class Harmonic(NamedTuple):
    """A structure and its modes.

    converged: of the relaxation; None where there was none. steps: of it. fmax: eV/Å, left.
    """

    atoms: Atoms
    modes: NormalModes
    converged: bool | None
    steps: int
    fmax: float


def harmonic(atoms: Atoms, calculator: Calculator, *, relax_first: bool, fmax: float) -> Harmonic:
    """Relax a copy of a structure, unless told not to, and diagonalise its Hessian.

    Constraints are lifted, which is said, and so is a relaxation that changes bonds. fmax: eV/Å,
    of the relaxation.
    """
    atoms = atoms.copy()
    lift_constraints(atoms, "normal modes are")
    atoms.calc = calculator
    converged, steps = None, 0
    if relax_first:
        given = atoms
        atoms, converged, _, steps = relax_atoms(given, fmax=fmax, steps=_RELAXATION_STEPS)
        change = bonds_changed(given, atoms)
        if change is not None:
            logger.warning("the structure is another molecule once relaxed: bonds %s", change)
    left = max_force(atoms.get_forces())
    if not relax_first and left > _MAX_FORCE_WITHOUT_RELAXATION:
        logger.warning(
            "the largest force is %.3f eV/Å: away from a minimum this means little", left
        )
    return Harmonic(atoms, modes_of(atoms, calculator), converged, steps, left)
