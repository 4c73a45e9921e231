"""The assembled data set as a flat file of molequi, with all targets and the split."""

from pathlib import Path

import numpy as np
import torch
from teacher_assemble import PARTS, Arrays, dipoles
from teacher_geometries import SAMPLERS
from teacher_moves import offsets
from teacher_shards import CATEGORIES

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.datasets.npz import save_npz
from molequi.properties import get_property

# What some frames have alone.
FEW = ("displacements", "force_changes", "pieces")


def to_frames(arrays: Arrays) -> Frames:
    """Return the frames with all targets; `source` is 'category sampler SMILES'."""
    targets = {
        "energy": arrays["energy"],
        "forces": arrays["forces"],
        "charges": arrays["charges"],
        "dipole": dipoles(arrays),
        "energy_std": arrays["energy_std"],
        "forces_std": arrays["forces_std"],
        "short_range_energies": local_energies(arrays),
        **{name: arrays[name] for name in FEW if name in arrays},
    }
    if "alone" in arrays:
        targets["interaction_energy"] = arrays["energy"] - arrays["alone"]
    targets |= relative(arrays)
    lines = zip(arrays["category"], arrays["sampler"], arrays["name"], strict=True)
    return make_frames(
        torch.from_numpy(arrays["pos"]),
        torch.from_numpy(arrays["z"]),
        torch.from_numpy(arrays["n_atoms"]),
        electrons=(
            torch.from_numpy(arrays["charge"].astype(np.int64)),
            torch.ones(len(arrays["n_atoms"]), dtype=torch.int64),
        ),
        targets={name: torch.from_numpy(values) for name, values in targets.items()},
        properties={name: get_property(name) for name in targets},
        source=tuple(f"{CATEGORIES[c]} {SAMPLERS[s]} {name}" for c, s, name in lines),
    )


def relative(arrays: Arrays) -> Arrays:
    """Return what relaxed frames of a molecule are relative to: another of its conformers.

    Each is compared with the next, the last with the first: `relative_energy` (B,), eV, and
    `other_positions` (A, 3), Å, NaN for the other frames. Nothing where no molecule has two.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for row in np.flatnonzero(arrays["sampler"] == SAMPLERS.index("relaxed")):
        if "." not in (name := str(arrays["name"][row])):
            groups.setdefault((name, int(arrays["n_atoms"][row])), []).append(int(row))
    begin, places = offsets(arrays["n_atoms"]), arrays["pos"].astype(np.float64)
    energies, others = np.full(len(arrays["energy"]), np.nan), np.full_like(places, np.nan)
    for rows in groups.values():
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
            if row != other:
                energies[row] = arrays["energy"][row] - arrays["energy"][other]
                there = places[begin[other] : begin[other + 1]]
                others[begin[row] : begin[row + 1]] = there
    if np.isnan(energies).all():
        return {}
    return {"relative_energy": energies, "other_positions": others}


def local_energies(arrays: Arrays) -> np.ndarray:
    """Return what the networks give each atom beside Coulomb and D3 (A,), eV; NaN in ions.

    The teacher spreads the total charge over the molecule before it looks at the atoms, so that an
    atom far from the charge of an ion has another energy than in a neutral molecule; the mean over
    all atoms is -1.74 eV in neutral molecules, -1.52 eV at +1 and -1.86 eV at -1. Such labels
    contradict each other for a network that sees neighbourhoods.
    """
    is_neutral = np.repeat(arrays["charge"] == 0, arrays["n_atoms"])
    return np.where(is_neutral, arrays["atom_energies"], np.nan).astype(np.float32)


def stored_splits(arrays: Arrays) -> dict[str, torch.Tensor]:
    """Return the rows of train, valid and test."""
    return {
        name: torch.from_numpy(np.flatnonzero(arrays["part"] == k)) for k, name in enumerate(PARTS)
    }


def write(path: Path, arrays: Arrays, notes: dict[str, object]) -> None:
    """Write the flat file."""
    splits = stored_splits(arrays)
    save_npz(to_frames(arrays), path, splits=splits, notes=notes, position_dtype="float32")
