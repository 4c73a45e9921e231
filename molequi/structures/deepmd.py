"""Systems of DeePMD-kit: a folder of arrays, with labels in eV and Å.

Its documentation, "Data", "System": `type.raw` and `type_map.raw` name the elements, `set.*` hold
coord, box, energy, force and virial of the frames; `nopbc` marks molecules. The virial is the
negative derivative of the energy by strain.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.structures.symbols import read_symbol

_TYPES, _NAMES, _FRAMES = "type.raw", "type_map.raw", "coord.npy"


class _Arrays(NamedTuple):
    """What a set holds of its frames: numbers (B, n), 0 for none; None for what it has not."""

    numbers: np.ndarray
    coord: np.ndarray
    box: np.ndarray | None
    energy: np.ndarray | None
    force: np.ndarray | None
    virial: np.ndarray | None


def is_deepmd(path: Path) -> bool:
    """Tell whether a folder is a system of DeePMD-kit."""
    return (path / _TYPES).is_file()


def deepmd_frames(folder: Path) -> Iterator[ase.Atoms]:
    """Yield the frames of a system with their labels. Raises UserError for one that is damaged."""
    sets = sorted(path.parent for path in folder.glob(f"set.*/{_FRAMES}"))
    if not sets:
        raise UserError(
            f"{folder} is a system of DeePMD-kit without sets (set.000/{_FRAMES}); convert its raw "
            "files first"
        )
    with reading(folder, "system of DeePMD-kit"):
        elements = _elements(folder)
        types = np.loadtxt(folder / _TYPES, dtype=int, ndmin=1)
    for place in sets:
        with reading(place, "frames of DeePMD-kit"):
            arrays = _arrays(place, elements, types)
        is_periodic = not (folder / "nopbc").exists()
        for row in range(len(arrays.coord)):
            yield _frame(arrays, row, is_periodic=is_periodic)


def _elements(folder: Path) -> np.ndarray:
    """Return the atomic number of each type. Raises UserError where nothing states it."""
    if not (folder / _NAMES).is_file():
        raise UserError(
            f"{folder} tells types of atoms and no elements; write their symbols into {_NAMES}"
        )
    names = (folder / _NAMES).read_text(encoding="utf-8").split()
    return np.array([read_symbol(name).number for name in names])


def _arrays(place: Path, elements: np.ndarray, types: np.ndarray) -> _Arrays:
    """Read a set. Raises ValueError where its arrays do not go together.

    types (n,): where the set has none of its own, -1 for no atom: a system of mixed type.
    """
    coord = np.load(place / _FRAMES, allow_pickle=False).astype(np.float64)
    n_frames, n_atoms = len(coord), len(types)

    def of(name: str, *shape: int) -> np.ndarray | None:
        path = place / f"{name}.npy"
        return (
            np.load(path, allow_pickle=False).reshape(n_frames, *shape) if path.exists() else None
        )

    own = of("real_atom_types", n_atoms)
    own = np.tile(types, (n_frames, 1)) if own is None else own
    if own.max(initial=0) >= len(elements):
        raise ValueError(f"type {own.max()} has no symbol among {len(elements)}")
    return _Arrays(
        np.where(own < 0, 0, elements[own]),
        coord.reshape(n_frames, n_atoms, 3),
        *(of("box", 3, 3), of("energy"), of("force", n_atoms, 3), of("virial", 3, 3)),
    )


def _frame(arrays: _Arrays, row: int, *, is_periodic: bool) -> ase.Atoms:
    real = arrays.numbers[row] > 0
    atoms = ase.Atoms(arrays.numbers[row][real], arrays.coord[row][real])
    if is_periodic and arrays.box is not None:
        atoms.cell, atoms.pbc = arrays.box[row], True
    elif is_periodic:
        atoms.info["reading"] = "there is no box: the frames are taken for molecules"
    labels: dict[str, object] = {}
    if arrays.energy is not None:
        labels["energy"] = float(arrays.energy[row])
    if arrays.force is not None:
        labels["forces"] = arrays.force[row][real].astype(np.float64)
    if atoms.pbc.any() and arrays.virial is not None:
        tensor = -arrays.virial[row].astype(np.float64) / atoms.get_volume()
        labels["stress"] = tensor.ravel()[[0, 4, 8, 5, 2, 1]]
    if labels:
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms
