"""Frames of L-alanine and their reflections, which are D-alanine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
import torch
from torch import Tensor

from molequi.datasets.array_files import array_names, open_arrays, real_numbers, whole_numbers
from molequi.datasets.chirality.mirror import mirror_frames
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import join_frames, make_frames
from molequi.datasets.prepared import PreparedSet, one_file
from molequi.datasets.report import describe_frames
from molequi.datasets.splits import NAMES
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.runtime.gate import reading
from molequi.structures.perception import labels_from_geometry

_ARRAYS = ("z", "R", "split")


class _Trajectory(NamedTuple):
    """atomic_numbers: (N,). positions: (M, N, 3), Å. part: (M,), 0, 1, 2 for train, valid, test."""

    atomic_numbers: np.ndarray
    positions: np.ndarray
    part: np.ndarray


class _Centre(NamedTuple):
    """The one stereocentre: its atom, and R or S."""

    atom: int
    label: str


def load_alanine(path: str | Path) -> LabelledSet:
    """Read frames of L-alanine and put the reflection of each, D-alanine, behind it.

    The target is `handedness` at the alpha carbon (S in L).

    The npz holds z (13,), R (M, 13, 3) in Å and split (M,): 0, 1, 2 for train, valid, test. A frame
    and its reflection form one group. Raises UserError for another kind of file, and for frames
    that are not all of the same enantiomer.
    """
    trajectory = _read(path)
    n_frames = len(trajectory.positions)
    frames = _with_reflections(_labelled(path, trajectory))
    both = torch.from_numpy(np.repeat(trajectory.part, 2))
    return LabelledSet(
        frames,
        describe_frames(frames, "alanine"),
        {name: torch.nonzero(both == number)[:, 0] for number, name in enumerate(NAMES)},
        tuple(f"frame {index}" for index in range(n_frames) for _ in range(2)),
        notes={
            "set": "alanine",
            "frames": n_frames,
            "enantiomers": "each frame is followed by its reflection",
        },
    )


def _read(path: str | Path) -> _Trajectory:
    arrays = open_arrays(path, only=_ARRAYS)
    for name in _ARRAYS:
        if name not in arrays:
            raise UserError(
                f"{path} is not the set of alanine conformers: array {name!r} is missing; expected "
                "z, R and split"
            )
    z, positions, part = arrays["z"], arrays["R"], arrays["split"]
    n_frames = positions.shape[0] if positions.ndim else 0
    if (
        n_frames == 0
        or positions.shape != (n_frames, z.size, 3)
        or z.ndim != 1
        or part.shape != (n_frames,)
        or not np.isin(part, (0, 1, 2)).all()
    ):
        found = f"z {z.shape}, R {positions.shape}, split {part.shape}"
        raise UserError(
            f"{path}: the arrays do not fit: {found}; expected (N,), (M, N, 3), and (M,) of 0, 1, 2"
        )
    with reading(path, "conformers of alanine"):
        return _Trajectory(
            whole_numbers(arrays, "z"), real_numbers(arrays, "R"), whole_numbers(arrays, "split")
        )


def _labelled(path: str | Path, trajectory: _Trajectory) -> Frames:
    numbers, positions, _ = trajectory
    n_frames, n_atoms = positions.shape[:2]
    centre = _find_centre(path, numbers, positions)
    handedness = torch.full((n_frames, n_atoms), torch.nan, dtype=torch.float64)
    handedness[:, centre.atom] = 1.0 if centre.label == "R" else 0.0
    return make_frames(
        torch.from_numpy(positions.reshape(-1, 3)),
        torch.from_numpy(numbers).repeat(n_frames),
        torch.full((n_frames,), n_atoms),
        targets={"handedness": handedness.reshape(-1)},
        properties={"handedness": PROPERTIES["handedness"]},
        source=[f"{Path(path).name}:{index}" for index in range(n_frames)],
    )


def _with_reflections(frames: Frames) -> Frames:
    """Put the reflection of each frame behind it, in rows 2i and 2i + 1."""
    order: Tensor = torch.arange(2 * len(frames)).reshape(2, len(frames)).T.reshape(-1)
    return join_frames([frames, mirror_frames(frames)]).subset(order)


def _find_centre(path: str | Path, z: np.ndarray, positions: np.ndarray) -> _Centre:
    """Find the stereocentre of the first frame; all frames must be the same enantiomer."""
    read = labels_from_geometry(ase.Atoms(z, positions[0]), charge=0)
    if read.labels is None or len(read.centres) != 1:
        raise UserError(
            f"{path}: the first frame should have one stereocentre, found {len(read.centres)} "
            f"({read.status})"
        )
    centre, label = next(iter(read.centres.items()))
    nearest = np.argsort(np.linalg.norm(positions[0] - positions[0][centre], axis=1))[1:5]
    volumes = np.linalg.det(positions[:, nearest[:3]] - positions[:, nearest[3:]])
    other = np.flatnonzero(np.sign(volumes) != np.sign(volumes[0]))
    if len(other):
        raise UserError(
            f"{path}: frame {other[0]} ({len(other)} in all) is the other enantiomer than "
            "frame 0; the second one is made by reflection"
        )
    return _Centre(centre, label)


class Alanine(PreparedSet):
    """One molecule in motion, both enantiomers of every frame."""

    name = "alanine"
    description = "10,000 frames of L-alanine and their reflections, which are D; handedness; MIT"
    targets = ("handedness",)
    file = "alanine_L_conformers.npz"

    def recognises(self, path: Path) -> bool:
        """Recognise a trajectory with a split and without energies."""
        names = array_names(path)
        return set(_ARRAYS) <= names and "E" not in names

    def read_source(self, paths: Sequence[Path], structures: str | Path | None) -> LabelledSet:
        """Read the trajectory; see `load_alanine`."""
        return load_alanine(one_file(paths, self.name))
