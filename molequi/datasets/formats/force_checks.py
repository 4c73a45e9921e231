"""Forces that are not minus the gradient of the energies beside them: of other sign, or other unit.

Between neighbouring frames of a path the energy changes by the work done against the forces,
E' - E = -(F + F')/2 · (x' - x), the trapezoidal rule, up to the third order of the step.
"""

from __future__ import annotations

import numpy as np
import torch

from molequi.datasets.in_memory import Frames

# Frames looked at, steps needed, and the longest step of an atom (Å): beyond it the rule is coarse.
_MOST, _FEWEST, _LONGEST = 500, 6, 0.1
# Of the steps' energies so much must be explained by the work, whatever its sign and unit.
_EXPLAINED = 0.9
_RIGHT = 0.2


def suspicious_forces(frames: Frames) -> list[str]:
    """Return a line where the work along a path says that the forces have another sign or unit.

    Only frames that follow each other with small steps say anything: a trajectory, a relaxation, a
    set of small displacements.
    """
    if not {"energy", "forces"} <= set(frames.targets):
        return []
    changes, works = _steps(frames.subset(torch.arange(min(len(frames), _MOST))))
    if len(changes) < _FEWEST or not works.any():
        return []
    square = float(works @ works)
    if not square:  # too small for a number
        return []
    slope = float(works @ changes) / square
    explained = 1.0 - float(((changes - slope * works) ** 2).sum()) / max(
        float((changes**2).sum()), 1e-300
    )
    if not explained >= _EXPLAINED or abs(slope - 1.0) < _RIGHT:
        return []
    if abs(slope + 1.0) < _RIGHT:
        return [
            f"forces: they have the sign of gradients: over {len(changes)} steps between "
            "neighbouring frames the energy rises where they point; if so set "
            "data.units.forces=-eV/Å"
        ]
    return [
        f"forces: they do not fit the energies: over {len(changes)} steps between neighbouring "
        f"frames the energy changes {slope:.3g} times as much as their work; see data.units"
    ]


def _steps(frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of the energy between neighbouring frames, and minus the work: eV."""
    energies, forces = frames.targets["energy"].numpy(), frames.targets["forces"].numpy()
    positions, numbers = frames.positions.numpy(), frames.atomic_numbers.numpy()
    bounds = frames.offsets.tolist()
    changes, works = [], []
    for index in range(len(frames) - 1):
        here, there = slice(*bounds[index : index + 2]), slice(*bounds[index + 1 : index + 3])
        if not np.array_equal(numbers[here], numbers[there]):
            continue
        step = positions[there] - positions[here]
        change = energies[index + 1] - energies[index]
        work = -0.5 * float(((forces[here] + forces[there]) * step).sum())
        if 0.0 < np.abs(step).max(initial=0.0) < _LONGEST and np.isfinite(change + work):
            changes.append(change)
            works.append(work)
    return np.array(changes), np.array(works)
