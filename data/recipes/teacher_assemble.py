"""Finished shards: what is dropped and why, dipoles, and a table of what is left."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from teacher_geometries import FREE, SAMPLERS
from teacher_moves import offsets
from teacher_shards import CATEGORIES

LOG = logging.getLogger("teacher")
PARTS = ("train", "valid", "test")
REACTIVE = ("tiny", "tiny_complex", "tiny_pair")
SIZES = ((1, 10), (11, 24), (25, 40), (41, 60), (61, 100))
Arrays = dict[str, np.ndarray]


class Limits(NamedTuple):
    """What a frame may have at most: the largest force and spread of a force, in eV/Å.

    The spread may be `floor`, or `share` of the frame's largest force where that is more, never
    above `ceiling`.
    """

    force: float = 40.0
    floor: float = 0.8
    share: float = 0.1
    ceiling: float = 2.5


def per_frame(values: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    """Return the largest of the atoms' values (A,) in each frame (B,)."""
    return np.maximum.reduceat(values, offsets(n_atoms)[:-1])


def read_shards(paths: Iterable[Path]) -> Arrays:
    """Join shards; `name` (B,) is the SMILES of each frame, `source` (B,) a number per geometry."""
    parts, n_starts = [], 0
    for path in paths:
        with np.load(path, allow_pickle=False) as file:
            part = dict(file)
        smiles = part.pop("smiles")
        part["name"] = smiles[part["start"]]
        part["start"] = part["start"] + n_starts
        n_starts += len(smiles)
        parts.append(part)
    if not parts:
        raise FileNotFoundError("there are no finished shards: run the stage `label` first")
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def force_changes(shards: Iterable[Path], folder: Path) -> Arrays:
    """Return `displacements` and `force_changes` (A, 3) of all shards, as `read_beside`."""
    return read_beside(shards, folder, per_atom={"displacements": 3, "force_changes": 3})


def pieces(shards: Iterable[Path], folder: Path) -> Arrays:
    """Return `pieces` (A, 2), and `alone` (B,), eV, their energies added up, as `read_beside`."""
    return read_beside(shards, folder, per_atom={"pieces": 2}, per_frame=("alone",))


def read_beside(
    shards: Iterable[Path],
    folder: Path,
    *,
    per_atom: Mapping[str, int],
    per_frame: Sequence[str] = (),
) -> Arrays:
    """Join what some frames of the shards have, NaN for the others.

    folder: has files named as the shards; nothing is returned where it has none. per_atom: arrays
    of atoms and the number of their columns. per_frame: arrays of frames.
    """
    shards = list(shards)
    if not any((folder / path.name).exists() for path in shards):
        return {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in (*per_atom, *per_frame)}
    for path in shards:
        with np.load(path, allow_pickle=False) as file:
            n_atoms = file["n_atoms"]
        found: Arrays = {"row": np.zeros(0, dtype=int)}
        if (folder / path.name).exists():
            with np.load(folder / path.name, allow_pickle=False) as file:
                found = dict(file)
        chosen = np.isin(np.arange(len(n_atoms)), found["row"])
        for name, width in per_atom.items():
            values = np.full((int(n_atoms.sum()), width), np.nan, dtype=np.float32)
            values[chosen.repeat(n_atoms)] = found.get(name, np.zeros((0, width)))
            parts[name].append(values)
        for name in per_frame:
            totals = np.full(len(n_atoms), np.nan)
            totals[chosen] = found.get(name, np.zeros(0))
            parts[name].append(totals)
    return {name: np.concatenate(values) for name, values in parts.items()}


def reasons(arrays: Arrays, limits: Limits) -> np.ndarray:
    """Name the reason to drop each frame (B,), '' to keep it.

    force: beyond what molecules meet; spread: the networks disagree; reacted: bonds broke or
    formed where the sampler does not do that on purpose (a proton that went over is kept), except
    among the smallest molecules and ions, whose reactions the networks know or disagree on; shared:
    molecules without a contact share electrons, so that no energy of them alone is told.
    """
    n_atoms = arrays["n_atoms"]
    force = per_frame(np.linalg.norm(arrays["forces"], axis=1), n_atoms)
    spread = per_frame(arrays["forces_std"], n_atoms)
    allowed = np.clip(limits.share * force, limits.floor, limits.ceiling)
    free = np.isin(arrays["sampler"], [SAMPLERS.index(name) for name in FREE])
    free |= np.isin(arrays["category"], [CATEGORIES.index(name) for name in REACTIVE])
    found = np.full(len(n_atoms), "", dtype="<U8")
    if "alone" in arrays:
        is_told = ~np.isnan(arrays["pieces"][offsets(n_atoms)[:-1], 0])
        found[is_told & np.isnan(arrays["alone"])] = "shared"
    found[~free & (arrays["damage"] > 1)] = "reacted"
    found[~(spread <= allowed)] = "spread"
    found[~(force <= limits.force)] = "force"
    return found


def select(arrays: Arrays, keep: np.ndarray) -> Arrays:
    """Keep the frames where `keep` (B,) is true."""
    n_frames, atoms = len(keep), np.repeat(keep, arrays["n_atoms"])
    return {key: a[keep] if len(a) == n_frames else a[atoms] for key, a in arrays.items()}


def dipoles(arrays: Arrays) -> np.ndarray:
    """Return the dipoles of the atomic charges (B, 3) in e·Å, from the centre of mass."""
    begin = offsets(arrays["n_atoms"])[:-1]
    mass, pos = atomic_masses[arrays["z"]][:, None], arrays["pos"].astype(np.float64)
    centre = np.add.reduceat(mass * pos, begin) / np.add.reduceat(mass, begin)
    from_centre = pos - np.repeat(centre, arrays["n_atoms"], axis=0)
    return np.add.reduceat(arrays["charges"][:, None] * from_centre, begin)


def rows_with(arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """Return masks of frames (B,) by element, size, charge, category and sampler."""
    n_atoms, begin = arrays["n_atoms"], offsets(arrays["n_atoms"])[:-1]
    elements = {
        chemical_symbols[z]: np.logical_or.reduceat(arrays["z"] == z, begin)
        for z in np.unique(arrays["z"])
    }
    sizes = {f"{a} to {b} atoms": (n_atoms >= a) & (n_atoms <= b) for a, b in SIZES}
    charges = {f"charge {q:+d}": arrays["charge"] == q for q in np.unique(arrays["charge"])}

    def by_code(key: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        return {name: arrays[key] == code for code, name in enumerate(names)}

    return {
        "element": elements,
        "size": sizes,
        "charge": charges,
        "category": by_code("category", CATEGORIES),
        "sampler": by_code("sampler", SAMPLERS),
    }


def statistics(arrays: Arrays, dropped: np.ndarray) -> dict[str, dict[str, dict[str, int]]]:
    """Count, for each group of `rows_with`, frames by part and frames dropped by reason."""
    kept = dropped == ""
    columns = {name: kept & (arrays["part"] == k) for k, name in enumerate(PARTS)}
    columns |= {f"dropped, {why}": dropped == why for why in np.unique(dropped[~kept])}
    groups = {"all": {"frames": np.ones(len(kept), dtype=bool)}, **rows_with(arrays)}
    return {
        title: {
            name: {column: int((mask & where).sum()) for column, where in columns.items()}
            for name, mask in group.items()
            if mask.any()
        }
        for title, group in groups.items()
    }


def table(counts: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """Write `statistics` as text."""
    columns = list(next(iter(counts["all"].values())))
    lines = [f"{'':18s}" + "".join(f"{name:>18s}" for name in columns)]
    for title, group in counts.items():
        lines.append(title)
        for name, row in group.items():
            lines.append(f"  {name:16s}" + "".join(f"{row[column]:18,d}" for column in columns))
    return "\n".join(lines)
