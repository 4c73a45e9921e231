"""Rosenfeld tensors of molecules of QM9: static, HF/6-31G, at QM9's geometries.

The files hold, for each molecule, `index` (its number in QM9), `energy` (Ha), `dipole` (e·bohr), `alpha` (3, 3) (bohr³) and `beta` (3, 3)
(electric, magnetic; bohr⁴), with the origin at the centre of mass and in the axes of QM9's positions. The level is that of Hartree-Fock in a
small basis: it tells which way and roughly how much, and is no experiment. The static tensor has no wavelength.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ase import units
from torch import Tensor

from molequi.datasets.flat_file import FlatFile, open_arrays
from molequi.datasets.qm9_join import constitution_split, join_qm9, qm9_smiles
from molequi.datasets.stereo import constitution_of
from molequi.errors import UserError
from molequi.properties import PROPERTIES

LEVEL = "HF/6-31G, static, origin at the centre of mass"
_SHAPES = {"energy": (), "dipole": (3,), "alpha": (3, 3), "beta": (3, 3)}
_SYMMETRY_TOLERANCE = 1e-3


def load_rosenfeld(paths: str | Path | Sequence[str | Path], structures: str | Path | None = None) -> FlatFile:
    """Join the tensors of one or several files with QM9's geometries, in the units of the property table.

    structures: whatever `load_qm9` reads; without it the prepared QM9, or an installed qm9pack. SMILES, which group the molecules, come from an
    array `smiles` of the files, from `qm9_extra.npz` beside the structures or the labels, or from qm9pack.
    Targets: rosenfeld, rosenfeld_isotropic, polarizability, dipole, energy. The split is 80/10/10 by the constitution's name
    (`hashed_split`), so that more molecules change nothing for those already there.
    Raises UserError for another kind of file, or a molecule that two files hold.
    """
    paths = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    arrays = [read_tensors(path) for path in paths]
    joined = {name: np.concatenate([part[name] for part in arrays]) for name in ("index", *_SHAPES)}
    _refuse_repeated(paths, arrays)
    names = " and ".join(path.name for path in paths)
    frames = join_qm9(joined["index"], structures, names)
    if all("smiles" in part for part in arrays):
        smiles = [str(text) for part in arrays for text in part["smiles"]]
    else:
        places = [*([_folder(Path(structures))] if structures is not None else []), *(path.parent for path in paths)]
        smiles = qm9_smiles(joined["index"], places, names)
    groups = tuple(constitution_of(text) for text in smiles)
    targets = tensor_targets(joined)
    frames = dataclasses.replace(frames, targets=targets, properties={name: PROPERTIES[name] for name in targets})
    notes = {"set": "rosenfeld", "level": LEVEL, "molecules": len(frames), "files": len(paths)}
    return FlatFile(frames, constitution_split(groups, paths[0].parent), notes, groups)


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read one file as it is, in its units. Raises UserError that says in one line what is wrong with it."""
    arrays = open_arrays(path, only=("index", "smiles", *_SHAPES))
    for name in ("index", *_SHAPES):
        if name not in arrays:
            raise UserError(f"{path} holds no Rosenfeld tensors: array {name!r} is missing; expected index, {', '.join(_SHAPES)}")
    n_molecules = len(arrays["index"])
    for name, shape in _SHAPES.items():
        if arrays[name].shape != (n_molecules, *shape):
            raise UserError(f"{path}: {name} has shape {arrays[name].shape}; expected {(n_molecules, *shape)} for {n_molecules} numbers")
        bad = np.flatnonzero(~np.isfinite(arrays[name]).reshape(n_molecules, -1).all(axis=1))
        if len(bad):
            raise UserError(f"{path}: {name} of number {arrays['index'][bad[0]]} (row {bad[0]}) is not finite; leave the row out")
    uneven = np.abs(arrays["alpha"] - arrays["alpha"].swapaxes(1, 2)).max(axis=(1, 2), initial=0.0)
    if n_molecules and uneven.max() > _SYMMETRY_TOLERANCE:
        raise UserError(f"{path}: alpha of number {arrays['index'][uneven.argmax()]} differs from its transpose by {uneven.max():.2g} bohr³")
    return arrays


def tensor_targets(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Convert to the units of the property table."""
    alpha = (arrays["alpha"] + arrays["alpha"].swapaxes(1, 2)) / 2
    return {
        "rosenfeld": torch.from_numpy(arrays["beta"].astype(np.float64)),
        "rosenfeld_isotropic": torch.from_numpy(np.trace(arrays["beta"], axis1=1, axis2=2) / 3),
        "polarizability": torch.from_numpy(alpha * units.Bohr**3),
        "dipole": torch.from_numpy(arrays["dipole"] * units.Bohr),
        "energy": torch.from_numpy(arrays["energy"] * units.Hartree),
    }


def _refuse_repeated(paths: Sequence[Path], arrays: Sequence[dict[str, np.ndarray]]) -> None:
    home: dict[int, Path] = {}
    for path, part in zip(paths, arrays, strict=True):
        for number in part["index"].tolist():
            if number in home:
                other = "twice" if home[number] == path else f"and in {home[number]}"
                raise UserError(f"{path}: number {number} stands there {other}; keep one of the two")
            home[number] = path


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
