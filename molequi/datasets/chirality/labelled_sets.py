"""Sets with labels of handedness.

Alanine in both hands, and molecules of QM9 with one stereocentre.
"""

from __future__ import annotations

import csv
import dataclasses
import zlib
from collections.abc import Sequence
from pathlib import Path

import ase
import numpy as np
import torch

from molequi.datasets.chirality.mirror import mirror_frames
from molequi.datasets.chirality.qm9_labels import constitution_split, join_qm9
from molequi.datasets.formats.tables import open_table, table_reader
from molequi.datasets.in_memory import Frames, make_frames
from molequi.datasets.npz import FlatFile, open_arrays
from molequi.datasets.splits import NAMES
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.structures.cip import constitution_of
from molequi.structures.perception import labels_from_geometry

_TARGET = {"handedness": PROPERTIES["handedness"]}
_COLUMNS = ("index", "status", "smiles_3d", "cip", "n_rs", "is_chiral")


def load_alanine(path: str | Path) -> FlatFile:
    """Read frames of L-alanine and put the reflection of each, D-alanine, behind it.

    The target is `handedness` at the alpha carbon (S in L).

    The npz holds z (13,), R (M, 13, 3) in Å and split (M,): 0, 1, 2 for train, valid, test. A frame
    and its reflection form one group.
    Raises UserError for another kind of file, and for frames that are not all of the same hand.
    """
    arrays = open_arrays(path, only=("z", "R", "split"))
    for name in ("z", "R", "split"):
        if name not in arrays:
            raise UserError(
                f"{path} is not the set of alanine conformers: array {name!r} is missing; expected "
                "z, R and split"
            )
    z, positions, part = (
        arrays["z"].astype(np.int64),
        arrays["R"].astype(np.float64),
        arrays["split"].astype(np.int64),
    )
    n_frames = len(positions)
    if (
        positions.shape != (n_frames, len(z), 3)
        or part.shape != (n_frames,)
        or not np.isin(part, (0, 1, 2)).all()
    ):
        found = f"z {z.shape}, R {positions.shape}, split {part.shape}"
        raise UserError(
            f"{path}: the arrays do not fit: {found}; expected (N,), (M, N, 3), and (M,) of 0, 1, 2"
        )
    centre, label = _centre(path, z, positions)
    handedness = torch.full((n_frames, len(z)), torch.nan, dtype=torch.float64)
    handedness[:, centre] = 1.0 if label == "R" else 0.0
    first = make_frames(
        torch.from_numpy(positions.reshape(-1, 3)),
        torch.from_numpy(z).repeat(n_frames),
        torch.full((n_frames,), len(z)),
        targets={"handedness": handedness.reshape(-1)},
        properties=_TARGET,
        source=[f"{Path(path).name}:{index}" for index in range(n_frames)],
    )
    # Rows 2i and 2i + 1 are a frame and its reflection.
    order = torch.arange(2 * n_frames).reshape(2, n_frames).T.reshape(-1)
    frames = Frames.concatenate([first, mirror_frames(first)]).subset(order)
    both = torch.from_numpy(np.repeat(part, 2))
    splits = {name: torch.nonzero(both == number)[:, 0] for number, name in enumerate(NAMES)}
    notes = {
        "set": "alanine",
        "frames": n_frames,
        "hands": "each frame is followed by its reflection",
    }
    return FlatFile(
        frames,
        splits,
        notes,
        tuple(f"frame {index}" for index in range(n_frames) for _ in range(2)),
    )


def load_qm9_chirality(path: str | Path, structures: str | Path | None = None) -> FlatFile:
    """Read the molecules of QM9 that have exactly one R or S centre.

    The target is `handedness` at that atom.

    path: the table with the columns index, status, smiles_3d, cip (such as `3:R`, an atom of QM9's
    order), n_rs and is_chiral. structures: whatever `load_qm9` reads; without it the prepared QM9,
    or an installed qm9pack. Molecules are grouped by their stereo-free SMILES; the split is
    80/10/10 by its name, the same as that of `load_rosenfeld`. Raises UserError that names the line
    at fault.
    """
    numbers, atoms, labels, groups = _one_centre(Path(path))
    frames = join_qm9(numbers, structures, str(path))
    outside = np.flatnonzero(atoms >= frames.n_atoms.numpy())
    if len(outside):
        raise UserError(
            f"{path}: number {numbers[outside[0]]} has no atom {atoms[outside[0]]}; the table and "
            "the structures do not belong together"
        )
    handedness = torch.full((frames.positions.shape[0],), torch.nan, dtype=torch.float64)
    handedness[frames.offsets[:-1] + torch.from_numpy(atoms)] = torch.from_numpy(labels)
    frames = dataclasses.replace(frames, targets={"handedness": handedness}, properties=_TARGET)
    notes = {
        "set": "qm9_chirality",
        "molecules": len(frames),
        "R": int(labels.sum()),
        "S": int((1 - labels).sum()),
    }
    return FlatFile(frames, constitution_split(groups, Path(path).parent), notes, tuple(groups))


def _one_centre(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, Sequence[str]]:
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; expected the table of R/S labels of QM9 (qm9_chirality.csv.gz)"
        )
    numbers, atoms, labels, groups = [], [], [], []
    with open_table(path) as handle:
        try:
            reader = table_reader(handle, path)
            missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(
                    f"{path}: column {missing[0]!r} is missing; expected {', '.join(_COLUMNS)}"
                )
            for line in reader:
                if (line["status"], line["n_rs"], line["is_chiral"]) != ("ok", "1", "1"):
                    continue
                atom, _, label = line["cip"].partition(":")
                if not atom.isdigit() or label not in {"R", "S"} or not line["index"].isdigit():
                    raise UserError(
                        f"{path}:{reader.line_num}: {line['cip']!r} of number {line['index']} is "
                        "no label; expected ATOM:R or ATOM:S"
                    )
                numbers.append(int(line["index"]))
                atoms.append(int(atom))
                labels.append(float(label == "R"))
                groups.append(constitution_of(line["smiles_3d"]))
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
            raise UserError(f"{path} cannot be read as a table ({error})") from error
    if not numbers:
        raise UserError(f"{path} has no molecule with exactly one R or S centre")
    return np.array(numbers), np.array(atoms), np.array(labels), groups


def _centre(path: str | Path, z: np.ndarray, positions: np.ndarray) -> tuple[int, str]:
    """Find the one stereocentre in the first frame, and check that all other frames have the same hand."""
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
            f"{path}: frame {other[0]} ({len(other)} in all) has the other hand than frame 0; the "
            "second hand is made by reflection"
        )
    return centre, label
