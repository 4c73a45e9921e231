"""Warnings about numbers that look like another unit than the one assumed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ase import units

from molequi.datasets.formats.force_checks import suspicious_forces
from molequi.datasets.in_memory import Frames
from molequi.structures.doubts import HYDROGEN_BOND, fits_bohr, nearest_to_hydrogens

# Total energies of the isolated atoms in hartree; all-electron calculations of a molecule stay
# within a few percent of their sum.
_ATOM_HARTREE = {
    1: -0.50, 2: -2.9, 3: -7.5, 4: -14.7, 5: -24.7, 6: -37.8, 7: -54.6, 8: -75.1, 9: -99.7,
    10: -128.9, 14: -289.4, 15: -341.3, 16: -398.1, 17: -460.1, 35: -2574.0, 53: -6920.0,
}  # fmt: skip
_ENERGY_UNITS = {
    "Ha": units.Hartree,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
_MAX_FRAMES = 200


def suspicious_units(frames: Frames, *, units_given: Mapping[str, str] | None = None) -> list[str]:
    """Return one line for each label, or the coordinates, whose size fits another unit better."""
    given = units_given or {}
    warnings = []
    if len(frames):
        rows = np.linspace(0, len(frames) - 1, min(len(frames), _MAX_FRAMES)).astype(np.int64)
        sample = frames.subset(torch.from_numpy(np.unique(rows)))
        warnings += _coordinates(sample)
        warnings += [
            line
            for name in ("energy", "u0")
            if name in sample.targets
            for line in _energies(sample, name, given.get(name, "eV"))
        ]
        if "forces" in sample.targets:
            warnings += _forces(sample, given.get("forces", "eV/Å"))
        warnings += suspicious_forces(frames)
    return warnings


def _energies(frames: Frames, name: str, unit: str) -> list[str]:
    energies = frames.targets[name].numpy()
    ratios = energies / _sums_over_atoms(frames)
    ratios = ratios[np.isfinite(ratios)]
    if not len(ratios):
        return []
    # In eV, a total energy is 27.2 times the sum in hartree; in another unit it is off by that
    # unit's size.
    ratio = float(np.median(ratios))
    for other, size in _ENERGY_UNITS.items():
        if abs(ratio * size / units.Hartree - 1) < 0.05 and abs(ratio / units.Hartree - 1) > 0.05:
            return [
                f"{name}: taken as {unit}, but the values fit total energies in {other}; if so set "
                f"data.units.{name}={other}"
            ]
    return []


def _sums_over_atoms(frames: Frames) -> np.ndarray:
    """Sum of the isolated atoms' energies (B,), hartree; NaN where it says nothing.

    It does so for hydrogen alone and for elements that are not in the table.
    """
    sums = np.full(len(frames), np.nan)
    for index in range(len(frames)):
        numbers = frames.atomic_numbers[frames.offsets[index] : frames.offsets[index + 1]].tolist()
        if max(numbers, default=1) > 1 and _ATOM_HARTREE.keys() >= set(numbers):
            sums[index] = sum(_ATOM_HARTREE[number] for number in numbers)
    return sums


def _forces(frames: Frames, unit: str) -> list[str]:
    forces = frames.targets["forces"].numpy()
    forces = forces[np.isfinite(forces).all(axis=1)]
    shortest = _shortest_distances(frames)
    if not len(forces) or not len(shortest):
        return []
    size = float(np.median(np.linalg.norm(forces, axis=1)))
    strained = float(np.median(np.abs(shortest / HYDROGEN_BOND - 1))) > 0.25
    if size > 10.0 and not strained:
        return [
            f"forces: taken as {unit}, but half of them exceed {size:.0f} eV/Å at ordinary bond "
            "lengths; "
            "kcal/mol/Å would fit: if so set data.units.forces=kcal/mol/Å"
        ]
    return []


def _coordinates(frames: Frames) -> list[str]:
    shortest = _shortest_distances(frames)
    if not fits_bohr(shortest):
        return []
    return [
        f"coordinates: hydrogens have their nearest neighbour at {np.median(shortest):.2f} Å, "
        "which is typical of bohr; if so convert the file to Å"
    ]


def _shortest_distances(frames: Frames) -> np.ndarray:
    """Distance of each hydrogen to its nearest atom (Å), open structures only."""
    found = []
    for index in range(len(frames)):
        atoms = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
        if not bool(frames.pbc[index].any()):
            found.append(
                nearest_to_hydrogens(
                    frames.positions[atoms].numpy(), frames.atomic_numbers[atoms].numpy()
                )
            )
    return np.concatenate(found) if found else np.zeros(0)
