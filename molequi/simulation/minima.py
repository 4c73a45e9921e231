"""Off saddle points: relaxed structures are pushed along their imaginary modes, and relax again.

Where a geometry is symmetric, as one of SMILES often is, the forces may vanish on top of a barrier,
such as that of a methyl group's turn. Only the Hessian tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from molequi.simulation.calculator import Calculator
from molequi.simulation.descents import Descent
from molequi.simulation.normal_modes import NormalModes, modes_of

# Å that the atom that moves most is moved along each imaginary mode.
_PUSH = 0.15
# eV that a push must bring; and how often a structure is pushed at most.
_GAIN, _PUSHES = 1e-5, 5


def leave_saddles(
    descents: Sequence[Descent], calculator: Calculator, descend: Callable[[list[Descent]], None]
) -> None:
    """Bring structures that have arrived to minima, all of whose modes are real.

    descend: relaxes structures again. Of each the number of imaginary modes that are left is noted
    (`Descent.n_imaginary`): more than none where pushes bring nothing any more.
    """
    energies = [np.inf] * len(descents)
    under_way = [k for k, one in enumerate(descents) if one.converged]
    for pushes in range(_PUSHES + 1):
        pushed = []
        for k in under_way:
            one = descents[k]
            if not one.converged:
                continue
            modes = modes_of(one.atoms, calculator)
            one.n_imaginary = int((modes.frequencies < 0).sum())
            is_lower = one.values["energy"] < energies[k] - _GAIN
            if one.n_imaginary and is_lower and pushes < _PUSHES:
                energies[k] = float(one.values["energy"])
                one.move_to(one.atoms.positions + push(modes, one.atoms.get_masses()))
                pushed.append(k)
        if not pushed:
            return
        descend([descents[k] for k in pushed])
        under_way = pushed


def push(modes: NormalModes, masses: np.ndarray) -> np.ndarray:
    """Return the displacement (N, 3), Å, along all imaginary modes; masses: (N,), amu."""
    moves = modes.weighted[modes.frequencies < 0] / np.sqrt(masses)[:, None]
    lengths = np.linalg.norm(moves, axis=2).max(axis=1)
    return np.asarray((moves * (_PUSH / lengths)[:, None, None]).sum(axis=0))
