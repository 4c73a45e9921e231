"""Rosenfeld tensors of molecules of QM9: static, HF/6-31G, at QM9's geometries.

An npz holds, for each molecule, `index` (its number in QM9), `energy` (Ha), `dipole` (e·bohr),
`alpha` (3, 3) (bohr³) and `beta` (3, 3) (electric, magnetic; bohr⁴), with the origin at the centre
of mass and in the axes of QM9's positions. What `molequi label qm9 --level hf/6-31g` writes holds
the same, so that the set can grow. The level is that of Hartree-Fock in a small basis: it tells
which way and roughly how much, and is no experiment. The static tensor has no wavelength.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms, units
from torch import Tensor

from molequi.datasets.array_files import array_names, open_arrays
from molequi.datasets.base import FileReport
from molequi.datasets.chirality.qm9_labels import constitution_split, join_qm9, qm9_smiles
from molequi.datasets.in_memory import Frames
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.npz import is_flat
from molequi.datasets.prepared import PreparedSet
from molequi.datasets.report import LabelReport, describe_frames, make_label
from molequi.errors import UserError
from molequi.properties import PROPERTIES
from molequi.structures.cip import constitution_of
from molequi.structures.formats import format_of
from molequi.structures.readers import records

LEVEL = "HF/6-31G, static, origin at the centre of mass"
_SHAPES = {"energy": (), "dipole": (3,), "alpha": (3, 3), "beta": (3, 3)}
_SYMMETRY_TOLERANCE = 1e-3
_METHOD = "HF/6-31G"
# What `molequi label` calls them, and the unit that it writes in units of the npz.
_LABELS = {
    "energy": ("energy", units.Hartree),
    "dipole": ("dipole", units.Bohr),
    "alpha": ("polarizability", units.Bohr**3),
    "beta": ("rosenfeld", 1.0),
}
_SIZES = {"gdb": 1, **{key: int(np.prod(_SHAPES[name])) for name, (key, _) in _LABELS.items()}}
_SAME_PLACE = 1e-4  # Å


def load_rosenfeld(
    paths: str | Path | Sequence[str | Path], structures: str | Path | None = None
) -> LabelledSet:
    """Join the tensors of one or several files with QM9's geometries, in the table's units.

    paths: .npz, or .xyz of `molequi label`. structures: whatever `load_qm9` reads; without it the
    prepared QM9, or an installed qm9pack. SMILES, which group the molecules, come from an array
    `smiles` of the files, from `qm9_extra.npz` beside the structures or the labels, or from
    qm9pack.
    Targets: rosenfeld, rosenfeld_isotropic, polarizability, dipole, energy. The split is 80/10/10
    by the constitution's name (`hashed_split`), so that more molecules change nothing for those
    already there.
    Raises UserError for another kind of file, a molecule that two files hold, or labels of another
    geometry than QM9's.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    arrays = [read_tensors(path) for path in files]
    joined = {name: np.concatenate([part[name] for part in arrays]) for name in ("index", *_SHAPES)}
    _refuse_repeated(files, arrays)
    names = " and ".join(path.name for path in files)
    frames = join_qm9(joined["index"], structures, names)
    _refuse_moved(frames, files, arrays)
    smiles = _stored_smiles(arrays)
    if smiles is None:
        places = [path.parent for path in files]
        if structures is not None:
            places.insert(0, _folder(Path(structures)))
        smiles = qm9_smiles(joined["index"], places, names)
    groups = tuple(map(constitution_of, smiles))
    targets = tensor_targets(joined)
    frames = dataclasses.replace(
        frames, targets=targets, properties={name: PROPERTIES[name] for name in targets}
    )
    notes = {"set": "rosenfeld", "level": LEVEL, "molecules": len(frames), "files": len(files)}
    splits = constitution_split(groups, files[0].parent)
    return LabelledSet(frames, describe_frames(frames, "rosenfeld"), splits, groups, notes=notes)


def _stored_smiles(arrays: Sequence[dict[str, np.ndarray]]) -> list[str] | None:
    """Return the SMILES that stand in the files, None where one of them has none."""
    if not all("smiles" in part for part in arrays):
        return None
    return [str(text) for part in arrays for text in part["smiles"]]


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Read one file in the units of the npz.

    Raises UserError that says in one line what is wrong with it.
    """
    arrays = (
        _labelled(Path(path))
        if format_of(Path(path)) == "xyz"
        else open_arrays(path, only=("index", "smiles", *_SHAPES))
    )
    for name in ("index", *_SHAPES):
        if name not in arrays:
            raise UserError(
                f"{path} holds no Rosenfeld tensors: array {name!r} is missing; expected index, "
                f"{', '.join(_SHAPES)}"
            )
    n_molecules = len(arrays["index"])
    for name, shape in _SHAPES.items():
        if arrays[name].shape != (n_molecules, *shape):
            raise UserError(
                f"{path}: {name} has shape {arrays[name].shape}; expected {(n_molecules, *shape)} "
                f"for {n_molecules} numbers"
            )
        bad = np.flatnonzero(~np.isfinite(arrays[name]).reshape(n_molecules, -1).all(axis=1))
        if len(bad):
            raise UserError(
                f"{path}: {name} of number {arrays['index'][bad[0]]} (row {bad[0]}) is not finite; "
                "leave the row out"
            )
    uneven = np.abs(arrays["alpha"] - arrays["alpha"].swapaxes(1, 2)).max(axis=(1, 2), initial=0.0)
    if n_molecules and uneven.max() > _SYMMETRY_TOLERANCE:
        raise UserError(
            f"{path}: alpha of number {arrays['index'][uneven.argmax()]} differs from its "
            f"transpose by {uneven.max():.2g} bohr³"
        )
    return arrays


def _labelled(path: Path) -> dict[str, np.ndarray]:
    """Read what `molequi label` wrote of QM9's molecules, with all positions (A, 3), Å."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("index", "positions", *_LABELS)}
    smiles = []
    for number, item in enumerate(records(path)):
        if isinstance(item, str):
            raise UserError(f"{path}, frame {number}: {item}")
        values = _values(item, f"{path}, frame {number}")
        found["index"].append(np.array([values["gdb"]]))
        found["positions"].append(item.positions)
        smiles.append(item.info.get("smiles"))
        for name, (key, unit) in _LABELS.items():
            found[name].append(
                np.asarray(values[key], dtype=np.float64).reshape(1, *_SHAPES[name]) / unit
            )
    if not smiles:
        raise UserError(f"{path} holds no structures")
    arrays = {name: np.concatenate(parts) for name, parts in found.items()}
    return {**arrays, "smiles": np.array(smiles)} if all(smiles) else arrays


def _values(atoms: Atoms, where: str) -> dict[str, Any]:
    """Return what stands in a frame of `molequi label`; refuse another level or a missing label."""
    level = str(atoms.info.get("level", "an unknown level"))
    if level.partition(",")[0] != _METHOD:
        raise UserError(
            f"{where} was labelled at {level}; the set is {_METHOD} throughout "
            "(`molequi label --level hf/6-31g`)"
        )
    values = {**atoms.info, **(atoms.calc.results if atoms.calc is not None else {})}
    missing = [key for key, size in _SIZES.items() if np.size(values.get(key, ())) != size]
    if missing:
        raise UserError(
            f"{where} has no {missing[0]}; expected what `molequi label qm9` writes: "
            f"{', '.join(_SIZES)}"
        )
    return values


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
                raise UserError(
                    f"{path}: number {number} stands there {other}; keep one of the two"
                )
            home[number] = path


def _refuse_moved(
    frames: Frames, paths: Sequence[Path], arrays: Sequence[dict[str, np.ndarray]]
) -> None:
    """Compare the positions that labels were computed at, where a file has them, with QM9's."""
    row = 0
    for path, part in zip(paths, arrays, strict=True):
        start, row = row, row + len(part["index"])
        ours = frames.positions[int(frames.offsets[start]) : int(frames.offsets[row])].numpy()
        theirs = part.get("positions", ours)
        if theirs.shape != ours.shape or np.abs(theirs - ours).max(initial=0.0) > _SAME_PLACE:
            raise UserError(
                f"{path} has labels of other geometries than those of QM9; label QM9's own "
                "(`molequi label qm9 --rows ...`)"
            )


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


class Rosenfeld(PreparedSet):
    """Rosenfeld tensors, polarizabilities and dipoles of molecules of QM9."""

    name = "rosenfeld"
    description = "Rosenfeld tensors of molecules of QM9, HF/6-31G, static; polarizability, dipole"
    targets = ("rosenfeld", "rosenfeld_isotropic", "polarizability", "dipole", "energy")
    joins_qm9 = True
    file = "qm9_rosenfeld.npz"

    def recognises(self, path: Path) -> bool:
        """Recognise the array `beta`."""
        return "beta" in array_names(path) and not is_flat(path)

    def read_source(self, paths: Sequence[Path], structures: str | Path | None) -> LabelledSet:
        """Join one or several files with QM9; see `load_rosenfeld`."""
        return load_rosenfeld(paths, structures)

    def inspect(self, path: Path) -> FileReport:
        """Report the tensors without their geometries, which stand in QM9."""
        arrays = read_tensors(path)
        n_molecules = len(arrays["index"])
        stored = {"rosenfeld": "beta", "rosenfeld_isotropic": "beta", "polarizability": "alpha"}
        rows = tuple(
            make_label(
                name, stored.get(name, name), "array", n_molecules, PROPERTIES[name].unit, values
            )
            for name, values in tensor_targets(arrays).items()
        )
        note = f"geometries are those of QM9: data.kind={self.name} joins them (data.structures)"
        report = LabelReport(rows, (), n_molecules, {})
        return FileReport(str(path), self.name, n_molecules, report, (note,))
