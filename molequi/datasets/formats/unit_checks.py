"""Warnings about numbers that look like another unit than the one assumed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from ase import units

from molequi.datasets.contacts import name_of
from molequi.datasets.formats.force_checks import held_atoms, other_axes, suspicious_forces
from molequi.datasets.formats.units import conversion_factor
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.structures.doubts import HYDROGEN_BOND, fits_bohr, nearest_to_hydrogens

# Total energies of the isolated atoms in hartree; all-electron calculations of a molecule stay
# within a few percent of their sum.
_ATOM_HARTREE = {
    1: -0.50, 2: -2.9, 3: -7.5, 4: -14.7, 5: -24.7, 6: -37.8, 7: -54.6, 8: -75.1, 9: -99.7,
    10: -128.9, 14: -289.4, 15: -341.3, 16: -398.1, 17: -460.1, 35: -2574.0, 53: -6920.0,
}  # fmt: skip
_ENERGY_UNITS = {
    "eV": 1.0,
    "Ha": units.Hartree,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
_MAX_FRAMES = 200
# Heavier atoms may have a core potential in the same data, and far smaller energies than in others.
_ALL_ELECTRON = 10
_MOST_PROTONS = 118
_CLOSE, _ROUGH = 0.05, 0.1  # how far a total energy may be from the sum over its atoms
_FORCE_UNITS = ("eV/Å", "kcal/mol/Å", "kJ/mol/Å")
_LARGE = 10.0  # eV/Å, of half of the forces at ordinary bond lengths


def doubts_of_arrays(loaded: LabelledSet) -> list[str]:
    """Return what `suspicious_units` says of a set in the units that its report names."""
    given = {row.name: row.unit for row in loaded.report.rows}
    return suspicious_units(loaded.frames, units_given=given)


def suspicious_units(frames: Frames, *, units_given: Mapping[str, str] | None = None) -> list[str]:
    """Return one line for each label, or the coordinates, whose size fits another unit better.

    units_given: target -> the unit that it was converted from, where that is not the table's.
    """
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
            for line in _energies(frames, name, given.get(name, "eV"))
        ]
        forces_in = given.get("forces", "eV/Å")
        told = suspicious_forces(frames, forces_in)
        if "forces" in sample.targets and not told:
            told = _forces(sample, forces_in)
        warnings += [*told, *held_atoms(frames), *other_axes(frames)]
    return warnings


def _energies(frames: Frames, name: str, unit: str) -> list[str]:
    """Doubt the unit of energies that fit total energies in another one, or some in each.

    A total energy in eV is 27.2 times the sum over the atoms in hartree.
    """
    in_file = frames.targets[name].numpy() / conversion_factor(unit, "eV")
    ratios = in_file / _sums_over_atoms(frames) / units.Hartree
    known = np.isfinite(ratios)
    if not known.any():
        return []
    ratio = float(np.median(ratios[known]))
    fitting = [other for other in _ENERGY_UNITS if _fits(ratio, other, _CLOSE)]
    if fitting and abs(ratio * conversion_factor(unit, "eV") - 1) > _CLOSE:
        return [
            f"{name}: taken as {unit}, but the values fit total energies in {fitting[0]}; if so "
            f"set data.units.{name}={fitting[0]}"
        ]
    return _mixed_energies(frames, name, ratios)


def _fits(ratio: float, unit: str, tolerance: float) -> bool:
    return abs(ratio * _ENERGY_UNITS[unit] - 1) < tolerance


def _mixed_energies(frames: Frames, name: str, ratios: np.ndarray) -> list[str]:
    """Doubt labels some of which are total energies in one unit and others are not."""
    rows = np.flatnonzero(np.isfinite(ratios) & (_heaviest(frames) <= _ALL_ELECTRON))
    kinds = [
        next((unit for unit in _ENERGY_UNITS if _fits(ratios[row], unit, _ROUGH)), "")
        for row in rows
    ]
    counts = Counter(kinds).most_common()
    if len(counts) < 2:
        return []
    first = name_of(frames, int(rows[kinds.index(counts[-1][0])]))
    words = [
        f"{count} fit total energies in {unit}" if unit else f"{count} are no total energies"
        for unit, count in counts
    ]
    return [
        f"{name}: of {len(rows)} values {', '.join(words)} (first of the latter: {first}): "
        "energies of several kinds, such as total and atomization energies, cannot be learned "
        "together"
    ]


def _sums_over_atoms(frames: Frames) -> np.ndarray:
    """Sum of the isolated atoms' energies (B,), hartree; NaN where it says nothing.

    It does so for hydrogen alone and for elements that are not in the table.
    """
    table = np.full(_MOST_PROTONS + 1, np.nan)
    table[list(_ATOM_HARTREE)] = list(_ATOM_HARTREE.values())
    numbers = frames.atomic_numbers.numpy().clip(0, _MOST_PROTONS)
    sums = np.bincount(_owners(frames), weights=table[numbers], minlength=len(frames))
    return np.where(_heaviest(frames) > 1, sums, np.nan)


def _heaviest(frames: Frames) -> np.ndarray:
    """Return the largest atomic number of each structure, (B,); 0 without atoms."""
    heaviest = np.zeros(len(frames), dtype=np.int64)
    np.maximum.at(heaviest, _owners(frames), frames.atomic_numbers.numpy())
    return heaviest


def _owners(frames: Frames) -> np.ndarray:
    """Return the structure that each atom is of, (A,)."""
    return np.repeat(np.arange(len(frames)), frames.n_atoms.numpy())


def _forces(frames: Frames, unit: str) -> list[str]:
    forces = frames.targets["forces"].numpy()
    forces = forces[np.isfinite(forces).all(axis=1)]
    shortest = _shortest_distances(frames)
    if not len(forces) or not len(shortest):
        return []
    size = float(np.median(np.linalg.norm(forces, axis=1)))
    strained = float(np.median(np.abs(shortest / HYDROGEN_BOND - 1))) > 0.25
    if size < _LARGE or strained:
        return []
    in_file = size / abs(conversion_factor(unit, "eV/Å"))
    fitting = [
        other for other in _FORCE_UNITS if in_file * conversion_factor(other, "eV/Å") < _LARGE
    ]
    hint = "see data.units.forces"
    if fitting:
        hint = f"{fitting[0]} would fit: if so set data.units.forces={fitting[0]}"
    return [
        f"forces: taken as {unit}, but half of them exceed {size:.0f} eV/Å at ordinary bond "
        f"lengths; {hint}"
    ]


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
