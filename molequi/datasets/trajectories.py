"""Frames of one molecule in a file: where its atoms are, and how they move."""

from __future__ import annotations

from typing import NamedTuple

import ase
import numpy as np
import torch
from torch import Tensor

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.in_memory import Frames
from molequi.datasets.places import find_data
from molequi.errors import UserError
from molequi.structures.readers import read_structures

_TIME = "molequi_time_fs"  # as `molequi md` writes it
_EVEN = 1e-3  # of the interval: rounding of the times in a file


class MoleculeFrames(NamedTuple):
    """T frames of one molecule.

    molecule: the first of them. masses: (N,), amu. positions: (T, N, 3), Å. momenta: (T, N, 3),
    ASE's units; None for a single frame without. interval: fs, between frames that tell it.
    """

    molecule: Frames
    masses: Tensor
    positions: Tensor
    momenta: Tensor | None
    interval: float | None


def read_molecule(path: str) -> MoleculeFrames:
    """Read one molecule, or a trajectory of one with momenta.

    Raises UserError where a frame is damaged, periodic, of other atoms or isotopes than the first,
    or one of several without momenta, and where times are not evenly spaced.
    """
    found = [structure for _, structure in read_structures(find_data(path))]
    broken = [structure for structure in found if isinstance(structure, str)]
    if broken:
        raise UserError(f"data.path {path} holds {broken[0]}")
    frames = [structure for structure in found if not isinstance(structure, str)]
    for number, atoms in enumerate(frames):
        if atoms.pbc.any():
            raise UserError(f"data.path {path} is periodic; give a molecule")
        if not _are_same_atoms(atoms, frames[0]):
            raise UserError(
                f"data.path {path}: frame {number} has other atoms than frame 0; give a file with "
                "one molecule, or a trajectory of one with its atoms in one order"
            )
    return MoleculeFrames(
        frames_from_atoms(frames[:1], source=(path,)),
        torch.from_numpy(frames[0].get_masses()),
        torch.from_numpy(np.array([atoms.get_positions() for atoms in frames])),
        _momenta(path, frames) if len(frames) > 1 else None,
        _interval(path, frames),
    )


def _are_same_atoms(one: ase.Atoms, other: ase.Atoms) -> bool:
    """Tell whether elements and isotopes are the same, in one order."""
    return np.array_equal(one.numbers, other.numbers) and np.allclose(
        one.get_masses(), other.get_masses()
    )


def _interval(path: str, frames: list[ase.Atoms]) -> float | None:
    if len(frames) < 2 or any(_TIME not in atoms.info for atoms in frames):
        return None
    steps = np.diff([float(atoms.info[_TIME]) for atoms in frames])
    interval = float(np.median(steps))
    if not interval > 0 or np.abs(steps - interval).max() > _EVEN * interval:
        raise UserError(f"data.path {path}: the frames are not evenly spaced in time ({_TIME})")
    return interval


def _momenta(path: str, frames: list[ase.Atoms]) -> Tensor:
    for number, atoms in enumerate(frames):
        if not atoms.has("momenta"):
            raise UserError(
                f"data.path {path}: frame {number} has no momenta, which a trajectory to learn "
                "from needs in every frame; `molequi md` and ASE write them"
            )
    return torch.from_numpy(np.array([atoms.get_momenta() for atoms in frames]))
