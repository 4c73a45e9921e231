"""From a guess to the saddle point: uphill along the softest mode, downhill along all others.

Newton steps with the exact Hessian in the normal modes (eigenvector following: C. J. Cerjan, W. H.
Miller, J. Chem. Phys. 75, 2800, 1981), each no longer than 0.1 Å.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms

from molequi.prediction.records import max_force
from molequi.simulation.calculator import Calculator
from molequi.simulation.normal_modes import NormalModes, modes_of

_LONGEST = 0.1  # Å, of the atom that moves most
_FLATTEST = 0.02  # eV/(Å² amu), where a mode is nearly flat


class Saddle(NamedTuple):
    """A stationary point and its modes. fmax: eV/Å, left.

    is_first_order: whether the force is gone and one mode alone leads down.
    """

    atoms: Atoms
    modes: NormalModes
    fmax: float
    is_first_order: bool


def refine_saddle(
    guess: Atoms, calculator: Calculator, *, fmax: float = 1e-3, steps: int = 60
) -> Saddle:
    """Climb from a guess to the saddle point near it. fmax: eV/Å."""
    atoms = guess.copy()
    atoms.set_constraint()
    atoms.calc = calculator
    for _ in range(steps):
        forces = atoms.get_forces()
        modes = modes_of(atoms, calculator)
        if max_force(forces) < fmax:
            break
        atoms.positions += _step(forces, modes, atoms.get_masses())
    else:
        modes = modes_of(atoms, calculator)
    left = max_force(atoms.get_forces())
    is_first_order = left < fmax and int((modes.frequencies < 0).sum()) == 1
    return Saddle(atoms, modes, left, is_first_order)


def _step(forces: np.ndarray, modes: NormalModes, masses: np.ndarray) -> np.ndarray:
    """Return the displacement, (N, 3), Å: along each mode the force over the curvature's size."""
    directions = modes.weighted / np.sqrt(masses)[None, :, None]
    along = np.einsum("kni,ni->k", directions, forces)
    along[0] = -along[0]
    lengths = along / np.maximum(np.abs(modes.curvatures), _FLATTEST)
    step = np.einsum("k,kni->ni", lengths, directions)
    longest = float(np.linalg.norm(step, axis=1).max())
    return np.asarray(step * min(1.0, _LONGEST / max(longest, 1e-12)))
