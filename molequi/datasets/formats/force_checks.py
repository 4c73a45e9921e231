"""Forces that are not minus the gradient of the energies beside them: of other sign, or other unit.

Between neighbouring frames of a path the energy changes by the work done against the forces,
E' - E = -(F + F')/2 · (x' - x), the trapezoidal rule, up to the third order of the step.
Frames in any order say the sign alone: a bond to hydrogen that is longer than others pulls it back.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from molequi.datasets.in_memory import Frames

# Frames looked at, steps needed, and the longest step of an atom (Å): beyond it the rule is coarse.
_MOST, _FEWEST, _LONGEST = 500, 6, 0.1
# Of the steps' energies so much must be explained by the work, whatever its sign and unit.
_EXPLAINED = 0.9
_RIGHT = 0.2
# Bonds to hydrogen (Å), how many are needed, how much they must differ, and how well forces along
# them must go with their lengths: they are so stiff that hardly anything else moves a hydrogen so.
_BOND, _BONDS, _SPREAD, _TOGETHER = 1.45, 20, 0.015, 0.7


def suspicious_forces(frames: Frames) -> list[str]:
    """Return a line where the forces seem to have another sign or unit than those of the energies.

    What is said of units needs frames that follow each other with small steps: a trajectory, a
    relaxation, a set of small displacements. The sign is told from any frames whose bonds to
    hydrogen differ in length.
    """
    if "forces" not in frames.targets:
        return []
    some = frames.subset(torch.arange(min(len(frames), _MOST)))
    slope = _slope(*_steps(some)) if "energy" in frames.targets else None
    if slope is None:
        return _sign_of_bonds(some)
    if abs(slope.value - 1.0) < _RIGHT:
        return []
    if abs(slope.value + 1.0) < _RIGHT:
        return [
            f"forces: they have the sign of gradients: over {slope.n_steps} steps between "
            "neighbouring frames the energy rises where they point; if so set "
            "data.units.forces=-eV/Å"
        ]
    return [
        f"forces: they do not fit the energies: over {slope.n_steps} steps between neighbouring "
        f"frames the energy changes {slope.value:.3g} times as much as their work; see data.units"
    ]


class _Slope(NamedTuple):
    """Change of the energy per work against the forces, of so many steps."""

    value: float
    n_steps: int


def _slope(changes: np.ndarray, works: np.ndarray) -> _Slope | None:
    """Return the slope of the changes in the works; None where they do not tell it."""
    square = float(works @ works)
    if len(changes) < _FEWEST or not square:  # or too small for a number
        return None
    slope = float(works @ changes) / square
    left = float(((changes - slope * works) ** 2).sum())
    explained = 1.0 - left / max(float((changes**2).sum()), 1e-300)
    return _Slope(slope, len(changes)) if explained >= _EXPLAINED else None


def _sign_of_bonds(frames: Frames) -> list[str]:
    """Return a line where hydrogens are pushed away along the longer of their bonds."""
    lengths, pushes = _bonds_to_hydrogen(frames)
    if len(lengths) < _BONDS or lengths.std() < _SPREAD or not pushes.std():
        return []
    if not np.corrcoef(lengths, pushes)[0, 1] > _TOGETHER:
        return []
    return [
        f"forces: they have the sign of gradients: of {len(lengths)} bonds to hydrogen the longer "
        "ones are pushed apart; if so set data.units.forces=-eV/Å"
    ]


def _bonds_to_hydrogen(frames: Frames) -> tuple[np.ndarray, np.ndarray]:
    """Return lengths beyond the middle one to that element, Å, and forces along them, eV/Å."""
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    positions, numbers = frames.positions.numpy(), frames.atomic_numbers.numpy()
    forces = frames.targets["forces"].numpy()
    for start, end in pairwise(frames.offsets.tolist()):
        heavy = start + np.flatnonzero(numbers[start:end] != 1)
        for hydrogen in start + np.flatnonzero(numbers[start:end] == 1):
            to = positions[hydrogen] - positions[heavy]
            distances = np.linalg.norm(to, axis=1)
            if not 0.0 < distances.min(initial=np.inf) < _BOND:
                continue
            nearest = int(distances.argmin())
            push = float(forces[hydrogen] @ to[nearest]) / distances[nearest]
            if np.isfinite(push):
                found[int(numbers[heavy[nearest]])].append((float(distances[nearest]), push))
    bonds = [np.array(rows) - [np.median(rows, axis=0)[0], 0.0] for rows in found.values()]
    lengths, pushes = np.concatenate([np.zeros((0, 2)), *bonds]).T
    return lengths, pushes


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
