"""The revised MD17: trajectories of small molecules at PBE/def2-SVP, with published splits.

Files of one's own may have its layout, in units that they state (`e_unit`, `r_unit`, as sGDML
writes them) or that a config does. There may be a `lattice`, as sGDML has it, and arrays such as
`charge` and `multiplicity`, of all frames or of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ase
import numpy as np
import torch
from torch import Tensor

from molequi.datasets.array_files import (
    array_names,
    open_arrays,
    real_numbers,
    row_numbers,
    whole_numbers,
)
from molequi.datasets.base import DatasetEntry, DatasetSpec, Request
from molequi.datasets.formats.unit_checks import doubts_of_arrays
from molequi.datasets.formats.units import conversion_factor
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import Electrons, Periodicity, make_frames
from molequi.datasets.report import LabelReport, make_label
from molequi.errors import UserError
from molequi.graphs.cells import refuse_cell
from molequi.properties import PROPERTIES
from molequi.runtime.gate import reading
from molequi.structures.atoms import stated_charge, stated_multiplicity
from molequi.structures.electrons import is_electron_key

_LABELS = {"energy": "E", "forces": "F"}
_PUBLISHED = ("kcal/mol", "Å")  # units of energy and length
_STATED = ("e_unit", "r_unit")
_UNSTATED = {"", "n/a", "none", "unknown"}
# The original archive names its arrays in full and keeps the splits in files of their own.
_SPELLINGS = {"nuclear_charges": "z", "coords": "R", "energies": "E", "forces": "F"}
_SPLIT_FILES = (
    "splits/index_{part}_{index:02d}.csv",
    "index_{part}_{index:02d}.csv",
    "../splits/index_{part}_{index:02d}.csv",
)
N_SPLITS = 5
SOURCE = "doi 10.6084/m9.figshare.12672038"


def load_rmd17(
    path: str | Path, *, split: int | None = None, units: Mapping[str, str] | None = None
) -> LabelledSet:
    """Read energies (eV), forces (eV/Å) and train and test of the published split 1 to 5.

    The file has either z, R, E, F and train_01 ..., or the original nuclear_charges, coords,
    energies, forces with the split files beside it. Without `split` there are no parts.
    units: of energy and forces in the file; else those that it states, else kcal/mol and Å.
    Raises UserError for another kind of file, or a split that is not there.
    """
    path = Path(path)
    arrays = open_arrays(path)
    with reading(path, "trajectory of rMD17"):
        return _labelled_set(arrays, path, split, units or {})


def _labelled_set(
    found: dict[str, np.ndarray], path: Path, split: int | None, given: Mapping[str, str]
) -> LabelledSet:
    arrays = _by_short_names(found, path)
    n_frames, n_atoms = arrays["R"].shape[:2]
    length, used = _units(arrays, path, given)
    shapes = {"energy": (-1,), "forces": (-1, 3)}
    frames = make_frames(
        torch.from_numpy(real_numbers(arrays, "R").reshape(-1, 3) * length),
        torch.from_numpy(whole_numbers(arrays, "z")).repeat(n_frames),
        torch.full((n_frames,), n_atoms),
        periodic=_periodicity(arrays, length, path),
        electrons=_electrons(arrays, path),
        targets={
            name: torch.from_numpy(
                real_numbers(arrays, array).reshape(shapes[name])
                * conversion_factor(used[name], PROPERTIES[name].unit)
            )
            for name, array in _LABELS.items()
        },
        properties={name: PROPERTIES[name] for name in _LABELS},
        source=[f"{path.name}:{index}" for index in range(n_frames)],
    )
    rows = tuple(
        make_label(name, array, "rMD17", n_frames, used[name], frames.targets[name])
        for name, array in _LABELS.items()
    )
    splits = {} if split is None else _published(path, arrays, split)
    return LabelledSet(frames, LabelReport(rows, (), n_frames, {}), splits)


def _by_short_names(found: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Return the arrays by the short spellings. Raises UserError where one is missing."""
    arrays = {_SPELLINGS.get(name, name): values for name, values in found.items()}
    missing = [name for name in ("z", "R", "E", "F") if name not in arrays]
    if missing:
        raise UserError(
            f"{path} has no array {missing[0]!r}; an npz in the layout of rMD17 has z (N), "
            "R (B, N, 3), E (B) and F (B, N, 3) of one molecule; this one has "
            f"{', '.join(arrays)}"
        )
    return arrays


def _periodicity(arrays: Mapping[str, np.ndarray], length: float, path: Path) -> Periodicity | None:
    """Return the one cell of all frames, whose vectors sGDML writes as columns; None without it.

    length: of the file's unit, Å.
    """
    if "lattice" not in arrays or not arrays["lattice"].any():
        return None
    lattice = real_numbers(arrays, "lattice") * length
    if lattice.shape != (3, 3):
        raise UserError(
            f"{path}: lattice has shape {lattice.shape}; sGDML's is (3, 3), one vector a column"
        )
    n_frames, n_atoms = arrays["R"].shape[:2]
    try:
        refuse_cell(lattice.T, np.ones(3, dtype=bool), n_atoms)
    except UserError as error:
        raise UserError(f"{path}, lattice: {error}") from error
    cell = torch.from_numpy(lattice.T.copy())
    return Periodicity(cell.repeat(n_frames, 1, 1), torch.ones(n_frames, 3, dtype=torch.bool))


def _electrons(arrays: Mapping[str, np.ndarray], path: Path) -> Electrons | None:
    """Return what arrays such as `charge` and `multiplicity` state, of all frames or of each.

    Others under these names, as the charges of atoms, state nothing. None where none does.
    """
    n_frames = len(arrays["R"])
    stated = {
        name: np.broadcast_to(values.reshape(-1), n_frames)
        for name, values in arrays.items()
        if is_electron_key(name) and values.size in (1, n_frames)
    }
    if not stated:
        return None
    states, place = np.unique(np.stack([*stated.values()]), axis=1, return_inverse=True)
    found = []
    for state in states.T:
        atoms = ase.Atoms(whole_numbers(arrays, "z"), info=dict(zip(stated, state, strict=True)))
        try:
            charge = stated_charge(atoms).value
            found.append((charge, stated_multiplicity(atoms, charge).value))
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
    charges, multiplicities = torch.tensor(found)[torch.from_numpy(place.reshape(-1))].T
    return Electrons(charges, multiplicities)


def _units(
    arrays: Mapping[str, np.ndarray], path: Path, given: Mapping[str, str]
) -> tuple[float, dict[str, str]]:
    """Return the size of the unit of length, Å, and the units of the labels."""
    energy, length = (
        _stated(arrays, name) or usual for name, usual in zip(_STATED, _PUBLISHED, strict=True)
    )
    try:
        size = conversion_factor(length, "Å")
        conversion_factor(energy, "eV")
    except UserError as error:
        raise UserError(f"{path}, {' and '.join(_STATED)}: {error}") from error
    length = length if length.isalpha() else f"({length})"
    return size, {"energy": energy, "forces": f"{energy}/{length}", **given}


def _stated(arrays: Mapping[str, np.ndarray], name: str) -> str:
    """Return the unit that a file states; empty where it states none."""
    if name not in arrays or arrays[name].size != 1:
        return ""
    value = arrays[name].item()
    text = value.decode() if isinstance(value, bytes) else str(value)
    return "" if text.strip().lower() in _UNSTATED else text.strip()


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
                    f"{path}: no published split {split}: neither {names}; take "
                    "data.split.kind=random"
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
    has_free_units = True
    is_own = True

    def recognises(self, path: Path) -> bool:
        """Recognise positions and energies under one of their two spellings."""
        names = {_SPELLINGS.get(name, name) for name in array_names(path)}
        return {"R", "E"} <= names

    def read(self, request: Request) -> LabelledSet:
        """Read one molecule; see `load_rmd17`."""
        wrong = [name for name in request.units if name not in _LABELS]
        if wrong:
            raise UserError(f"data.units names {wrong[0]!r}; this file has {', '.join(_LABELS)}")
        return load_rmd17(request.file(), split=request.published_split, units=request.units)

    def doubts(self, loaded: LabelledSet) -> list[str]:
        """Doubt sizes and signs, for anybody may have made a file of this layout."""
        return doubts_of_arrays(loaded)

    def entry(self, folder: Path) -> DatasetEntry:
        """Say where the files are published."""
        return DatasetEntry(self.name, self.description, SOURCE, False)
