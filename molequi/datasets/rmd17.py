"""The revised MD17: trajectories of small molecules at PBE/def2-SVP, with published splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from ase import units
from torch import Tensor

from molequi.datasets.array_files import (
    array_names,
    open_arrays,
    real_numbers,
    row_numbers,
    whole_numbers,
)
from molequi.datasets.base import DatasetEntry, DatasetSpec, Request
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import make_frames
from molequi.datasets.report import describe_frames
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.runtime.gate import reading

_KCAL_PER_MOL = units.kcal / units.mol
# The original archive names its arrays in full and keeps the splits in files of their own.
_SPELLINGS = {"nuclear_charges": "z", "coords": "R", "energies": "E", "forces": "F"}
_SPLIT_FILES = (
    "splits/index_{part}_{index:02d}.csv",
    "index_{part}_{index:02d}.csv",
    "../splits/index_{part}_{index:02d}.csv",
)
N_SPLITS = 5
SOURCE = "doi 10.6084/m9.figshare.12672038"


def load_rmd17(path: str | Path, *, split: int | None = None) -> LabelledSet:
    """Read energies (eV), forces (eV/Å) and train and test of the published split 1 to 5.

    The file has either z, R, E, F and train_01 ..., or the original nuclear_charges, coords,
    energies, forces with the split files beside it. Without `split` there are no parts.
    Raises UserError for another kind of file, or a split that is not there.
    """
    path = Path(path)
    arrays = open_arrays(path)
    with reading(path, "trajectory of rMD17"):
        return _labelled_set(arrays, path, split)


def _labelled_set(found: dict[str, np.ndarray], path: Path, split: int | None) -> LabelledSet:
    arrays = {_SPELLINGS.get(name, name): values for name, values in found.items()}
    missing = [name for name in ("z", "R", "E", "F") if name not in arrays]
    if missing:
        raise UserError(
            f"{path} is no rMD17 file: array {missing[0]!r} is missing; it has {', '.join(arrays)}"
        )
    n_frames, n_atoms = arrays["R"].shape[:2]
    frames = make_frames(
        torch.from_numpy(real_numbers(arrays, "R").reshape(-1, 3)),
        torch.from_numpy(whole_numbers(arrays, "z")).repeat(n_frames),
        torch.full((n_frames,), n_atoms),
        targets={
            "energy": torch.from_numpy(real_numbers(arrays, "E").reshape(-1) * _KCAL_PER_MOL),
            "forces": torch.from_numpy(real_numbers(arrays, "F").reshape(-1, 3) * _KCAL_PER_MOL),
        },
        properties={name: PROPERTIES[name] for name in ("energy", "forces")},
        source=[f"{path.name}:{index}" for index in range(n_frames)],
    )
    splits = {} if split is None else _published(path, arrays, split)
    return LabelledSet(frames, describe_frames(frames, "rMD17"), splits)


def _published(path: Path, arrays: dict[str, np.ndarray], split: int) -> dict[str, Tensor]:
    if not 1 <= split <= N_SPLITS:
        raise UserError(f"rMD17 has the splits 1 to {N_SPLITS}; got {split}")
    parts = {}
    for part in ("train", "test"):
        rows = arrays.get(f"{part}_{split:02d}")
        if rows is None:
            found = [path.parent / name.format(part=part, index=split) for name in _SPLIT_FILES]
            found = [name for name in found if name.is_file()]
            if not found:
                names = (
                    f"an array {part}_{split:02d} nor a file index_{part}_{split:02d}.csv beside it"
                )
                raise UserError(
                    f"{path}: no published split {split}: neither {names}; take split.kind=random"
                )
            rows = np.loadtxt(found[0], dtype=np.int64, ndmin=1)
        parts[part] = row_numbers(rows, f"{path}: {part}")
    return parts


class Rmd17(DatasetSpec):
    """Trajectories of ten small molecules; the split is one of five published ones."""

    name = "rmd17"
    description = "revised MD17, PBE/def2-SVP, CC0; give an npz with data.path"
    targets = ("energy", "forces")
    has_official_split = True

    def recognises(self, path: Path) -> bool:
        """Recognise positions and energies under one of their two spellings."""
        names = {_SPELLINGS.get(name, name) for name in array_names(path)}
        return {"R", "E"} <= names

    def read(self, request: Request) -> LabelledSet:
        """Read one molecule; see `load_rmd17`."""
        return load_rmd17(request.file(), split=request.published_split)

    def entry(self, folder: Path) -> DatasetEntry:
        """Say where the files are published."""
        return DatasetEntry(self.name, self.description, SOURCE, False)
