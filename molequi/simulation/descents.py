"""Many relaxations at once: each has its own optimizer of ASE, one call of the model serves all.

A structure that has arrived makes room for the next one.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.optimize import BFGS, FIRE

from molequi.prediction.records import Values, max_force
from molequi.simulation.calculator import Calculator
from molequi.simulation.forces import Admitted, JointCalculator
from molequi.simulation.joined import Joined

logger = logging.getLogger(__name__)

OPTIMIZERS = {"bfgs": BFGS, "fire": FIRE}
# Enough atoms to fill the vector units.
_ATOMS_AT_ONCE = 1024


class Descent:
    """A structure on its way downhill; the calculator that ASE asks for its forces.

    atoms: moved. before: eV, the energy of the first geometry. values: what the model gave last.
    converged, fmax: eV/Å, and steps: how far it came. n_imaginary: modes that lead down from there,
    None where nobody asked.
    """

    def __init__(self, atoms: Atoms, known: Admitted, optimizer: str) -> None:
        self.atoms, self.known = atoms.copy(), known
        self.atoms.calc = self
        self.values: Values = {}
        self.before = np.nan
        self.steps, self.fmax, self.converged = 0, np.inf, False
        self.n_imaginary: int | None = None
        self._forces = np.zeros((len(atoms), 3))
        self._energy = np.nan
        self._make_optimizer = functools.partial(OPTIMIZERS[optimizer], self.atoms, logfile=None)
        self._optimizer = self._make_optimizer()

    def take(self, energy: float, forces: np.ndarray) -> None:
        """Take what the model gave for the present geometry: eV, and (N, 3), eV/Å."""
        self._energy, self._forces = energy, forces
        self.before = energy if np.isnan(self.before) else self.before
        self.fmax = max_force(self.atoms.get_forces())

    def goes_on(self, fmax: float, steps: int) -> bool:
        """Tell whether there is a step to make; else say how it ended."""
        if not np.isfinite(self._forces).all():
            logger.warning(
                "the relaxation stopped at step %d: the forces are no longer finite", self.steps
            )
            return False
        self.converged = self.fmax < fmax
        return not self.converged and self.steps < steps

    def move_to(self, positions: np.ndarray) -> None:
        """Begin again at other positions, (N, 3), Å; steps are counted on."""
        self.atoms.positions = positions
        self.converged = False
        self._optimizer = self._make_optimizer()

    def step(self) -> None:
        """Move downhill."""
        self._optimizer.step()
        self.steps += 1

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        """Return the forces; ASE calls it."""
        return self._forces.copy()

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Return the energy; ASE calls it."""
        return self._energy


def descend(descents: Sequence[Descent], calculator: Calculator, fmax: float, steps: int) -> None:
    """Bring every structure to where no force exceeds fmax, eV/Å, in at most so many steps each."""
    waiting = iter(descents)
    under_way: list[Descent] = []
    while _fill(under_way, waiting):
        joint = _joint(under_way, calculator)
        joint.update(np.concatenate([one.atoms.positions for one in under_way]))
        shares = joint.joined.parts(joint.forces)
        for one, energy, forces in zip(under_way, joint.energies, shares, strict=True):
            one.take(float(energy), forces)
        remaining = [one for one in under_way if one.goes_on(fmax, steps)]
        if len(remaining) < len(under_way):
            for one, values in zip(under_way, joint.predictions, strict=True):
                one.values = values
        under_way = remaining
        for one in under_way:
            one.step()


def _fill(under_way: list[Descent], waiting: Iterator[Descent]) -> bool:
    """Let structures come in while there is room; tell whether any is under way."""
    n_atoms = sum(len(one.atoms) for one in under_way)
    while n_atoms < _ATOMS_AT_ONCE:
        following = next(waiting, None)
        if following is None:
            break
        under_way.append(following)
        n_atoms += len(following.atoms)
    return bool(under_way)


def _joint(under_way: Sequence[Descent], calculator: Calculator) -> JointCalculator:
    joined = Joined([one.atoms for one in under_way])
    return JointCalculator(calculator, joined, [one.known for one in under_way])
