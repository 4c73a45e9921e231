"""Normal modes as something to look at: displacements, and films of one period."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz

from molequi.simulation.bare_frames import bare_frame
from molequi.simulation.calculator import Calculator
from molequi.simulation.normal_modes import NormalModes

_FRAMES = 20
_AMPLITUDE = 0.35  # Å, of the atom that moves most


def displacement(atoms: Atoms, modes: NormalModes, number: int) -> np.ndarray:
    """Return the Cartesian displacements of a mode, (N, 3), the largest of length one."""
    moved = modes.weighted[number] / np.sqrt(atoms.get_masses())[:, None]
    return np.asarray(moved / np.linalg.norm(moved, axis=1).max())


def write_film(
    path: Path, atoms: Atoms, calculator: Calculator, modes: NormalModes, number: int
) -> None:
    """Write one period of a mode as an extended XYZ file: x + 0.35 Å sin(2 pi k / 20) d."""
    direction = displacement(atoms, modes, number)
    with path.open("w", encoding="utf-8") as file:
        for k in range(_FRAMES):
            moved = atoms.positions + _AMPLITUDE * np.sin(2 * np.pi * k / _FRAMES) * direction
            info = {"mode_index": number, "frequency_cm1": float(modes.frequencies[number])}
            write_xyz(file, bare_frame(atoms, calculator, info, moved))


def write_films(folder: Path, atoms: Atoms, calculator: Calculator, modes: NormalModes) -> None:
    """Write a film of every mode, `mode_004.xyz`, into a new folder."""
    folder.mkdir()
    for number in range(len(modes.frequencies)):
        write_film(folder / f"mode_{number:03d}.xyz", atoms, calculator, modes, number)
