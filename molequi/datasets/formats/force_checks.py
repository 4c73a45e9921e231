"""Forces that are not minus the gradient of the energies beside them: of other sign, or other unit.

Between neighbouring frames of a path the energy changes by the work done against the forces,
E' - E = -(F + F')/2 · (x' - x), the trapezoidal rule, up to the third order of the step.
In frames of any order a bond to hydrogen that is longer than others pulls it back, as hard as such
bonds are stiff. Atoms that were held fixed have no force where the others' do not add up to zero.
Forces on a molecule alone do not turn it.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from molequi.datasets.formats.units import conversion_factor
from molequi.datasets.in_memory import Frames

# Frames looked at, steps needed, and the longest step of an atom (Å): beyond it the rule is coarse.
_MOST, _FEWEST, _LONGEST = 500, 6, 0.1
# Of the steps' energies so much must be explained by the work, whatever its sign and unit.
_EXPLAINED = 0.9
_RIGHT = 0.2
# Bonds to hydrogen (Å), how many are needed, how much they must differ, and how well forces along
# them must go with their lengths: they are so stiff that hardly anything else moves a hydrogen so.
_BOND, _BONDS, _SPREAD, _TOGETHER = 1.45, 20, 0.015, 0.7
# How stiff these bonds are, eV/Å²: from 20 (HI, 2309 cm⁻¹) to 60 (HF, 4138 cm⁻¹; Huber, Herzberg).
# Beyond the wider limits forces are doubted, within the narrower ones another unit is believed.
_STIFF, _DOUBTED, _BELIEVED = 33.0, (10.0, 120.0), (15.0, 75.0)
_UNITS = ("eV/Å", "Ha/bohr", "kcal/mol/Å", "kJ/mol/Å", "Ha/Å")
# Of the largest force in a structure so much must be left in the sum of all.
_LEFT = 0.1
# A largest force (eV/Å) beyond noise; a torque as a part of what the forces could exert at their
# distances; and the share of molecules that may have one.
_FELT, _TURNING, _FEW_TURNED = 0.1, 0.1, 0.1


def suspicious_forces(frames: Frames, unit: str = "eV/Å") -> list[str]:
    """Return a line where the forces seem to have another sign or unit than those of the energies.

    unit: the one they were converted from. Frames that follow each other with small steps, as in a
    trajectory, a relaxation or a set of small displacements, tell it by the energies; frames of any
    order, whose bonds to hydrogen differ in length, by how stiff these are.
    """
    if "forces" not in frames.targets:
        return []
    some = frames.subset(torch.arange(min(len(frames), _MOST)))
    slope = _slope(*_steps(some)) if "energy" in frames.targets else None
    if slope is None:
        return _told_by_bonds(some, unit)
    if abs(slope.value - 1.0) < _RIGHT:
        return []
    if abs(slope.value + 1.0) < _RIGHT:
        return [
            f"forces: they have the sign of gradients: over {slope.n_steps} steps between "
            "neighbouring frames the energy rises where they point; if so set "
            f"data.units.forces={_turned(unit)}"
        ]
    return [
        f"forces: they do not fit the energies: over {slope.n_steps} steps between neighbouring "
        f"frames the energy changes {slope.value:.3g} times as much as their work; see data.units"
    ]


def held_atoms(frames: Frames) -> list[str]:
    """Return a line where atoms without any force were held: the others' do not add up to zero."""
    if "forces" not in frames.targets:
        return []
    forces = frames.targets["forces"].numpy()
    n_atoms = n_frames = 0
    for start, end in pairwise(frames.offsets[: _MOST + 1].tolist()):
        here = forces[start:end]
        n_still = int((here == 0.0).all(axis=1).sum())
        largest = float(np.linalg.norm(here, axis=1).max(initial=0.0))
        if n_still and float(np.linalg.norm(here.sum(axis=0))) > _LEFT * largest:
            n_atoms, n_frames = n_atoms + n_still, n_frames + 1
    if not n_frames:
        return []
    return [
        f"forces: {n_atoms} atoms in {n_frames} frames have exactly zero force, and the others' "
        "do not add up to zero, as if these had been held fixed; write NaN in their place, or a "
        "constraint (move_mask in extended XYZ), so that they do not count"
    ]


def other_axes(frames: Frames) -> list[str]:
    """Return a line where forces turn whole molecules, as those of other axes than the positions'.

    An energy that does not change when a molecule turns has no torque, sum over atoms of r x F.
    """
    if "forces" not in frames.targets:
        return []
    forces, positions = frames.targets["forces"].numpy(), frames.positions.numpy()
    n_turned = n_open = 0
    for index, (start, end) in enumerate(pairwise(frames.offsets[: _MOST + 1].tolist())):
        push, place = forces[start:end], positions[start:end]
        sizes = np.linalg.norm(push, axis=1)
        largest = float(sizes.max(initial=0.0))
        if bool(frames.pbc[index].any()) or not _FELT < largest < np.inf:
            continue  # NaN too
        if float(np.linalg.norm(push.sum(axis=0))) > _LEFT * largest:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # far beyond any molecule
            place = place - place.mean(axis=0)
            arms = float(np.linalg.norm(place, axis=1) @ sizes)
            torque = float(np.linalg.norm(np.cross(place, push).sum(axis=0)))
        n_open, n_turned = n_open + 1, n_turned + (torque > _TURNING * arms)
    if n_turned <= _FEW_TURNED * n_open:
        return []
    return [
        f"forces: those of {n_turned} of {n_open} molecules would turn the molecule as a whole, as "
        "if they had other axes than the positions, such as those of another orientation in the "
        "output of a program; take both in the same one"
    ]


def _turned(unit: str) -> str:
    """Return a unit with the other sign."""
    return f"-{unit}".removeprefix("--")


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


def _told_by_bonds(frames: Frames, unit: str) -> list[str]:
    """Return a line where bonds to hydrogen say that the sign, or the size, is another."""
    lengths, pushes = _bonds_to_hydrogen(frames)
    if len(lengths) < _BONDS or lengths.std() < _SPREAD or not pushes.std():
        return []
    together = float(np.corrcoef(lengths, pushes)[0, 1])
    if together > _TOGETHER:
        return [
            f"forces: they have the sign of gradients: of {len(lengths)} bonds to hydrogen the "
            f"longer ones are pushed apart; if so set data.units.forces={_turned(unit)}"
        ]
    stiffness = -together * float(pushes.std() / lengths.std())
    if together > -_TOGETHER or _DOUBTED[0] < stiffness < _DOUBTED[1]:
        return []
    stated = stiffness / abs(conversion_factor(unit, "eV/Å"))
    sizes = {name: stated * conversion_factor(name, "eV/Å") for name in _UNITS}
    likely = min(sizes, key=lambda name: abs(np.log(sizes[name] / _STIFF)))
    hint = "see data.units.forces"
    if _BELIEVED[0] < sizes[likely] < _BELIEVED[1]:
        hint = f"{likely} would fit: if so set data.units.forces={likely}"
    return [
        f"forces: taken as {unit}, but along {len(lengths)} bonds to hydrogen they change by "
        f"{stiffness:.3g} eV/Å per Å, where 20 to 60 are usual; {hint}"
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
