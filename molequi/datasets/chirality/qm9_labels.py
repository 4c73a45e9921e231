"""Geometries, SMILES and splits for labels that name molecules by their number in QM9."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.array_files import open_arrays
from molequi.datasets.in_memory import Frames
from molequi.datasets.qm9.qm9 import PREPARED, default_root, load_qm9, qm9pack_folder
from molequi.datasets.splits import hashed_split
from molequi.errors import UserError
from molequi.structures.cip import constitution_of

_LOG = logging.getLogger(__name__)
EXTRA = "qm9_extra.npz"
RESERVED = "reserved.txt"
# One salt for all sets: a constitution has the same part in each of them.
_SALT = "molequi:chiral"


def join_qm9(numbers: np.ndarray, structures: str | Path | None, where: str) -> Frames:
    """Return QM9's own geometries of these numbers (gdb9, from 1), in their order, without targets.

    structures: whatever `load_qm9` reads. where: names the labels in messages. Raises UserError for
    a number that QM9 does not have.
    """
    if (
        structures is None
        and qm9pack_folder() is None
        and not (default_root() / PREPARED).is_file()
    ):
        raise UserError(
            f"{where} names molecules of QM9, which is not prepared; run `molequi data prepare "
            "qm9`, or set data.structures to its file"
        )
    frames = load_qm9(structures).frames.with_targets([])
    rows = {int(text.split()[1]): row for row, text in enumerate(frames.source)}
    missing = [number for number in numbers.tolist() if number not in rows]
    if missing:
        place = f"the {len(rows)} molecules of {structures or 'the prepared QM9'}"
        raise UserError(
            f"{where}: number {missing[0]} ({len(missing)} in all) is not among {place}; give the "
            "full QM9 as data.structures"
        )
    return frames.subset(
        torch.tensor([rows[number] for number in numbers.tolist()], dtype=torch.int64)
    )


def known_smiles(folders: Sequence[Path]) -> dict[int, str]:
    """Return QM9's own SMILES by number.

    From `qm9_extra.npz` in one of the folders, else from an installed qm9pack; empty where neither
    is there.
    """
    path = next((folder / EXTRA for folder in folders if (folder / EXTRA).is_file()), None)
    if path is not None:
        arrays = open_arrays(path, only=("index", "smiles"))
        if set(arrays) != {"index", "smiles"}:
            raise UserError(
                f"{path}: expected the arrays index and smiles, found "
                f"{', '.join(arrays) or 'neither'}"
            )
        return dict(zip(arrays["index"].tolist(), arrays["smiles"].tolist(), strict=True))
    pack, found = qm9pack_folder(), {}
    for part in sorted(pack.glob("qm9_part*.csv")) if pack is not None else ():
        with part.open(encoding="utf-8", newline="") as handle:
            found.update({int(line["Index"]): line["SMILES"] for line in csv.DictReader(handle)})
    return found


def qm9_smiles(numbers: np.ndarray, folders: Sequence[Path], where: str) -> list[str]:
    """Return the SMILES of molecules of QM9, see `known_smiles`.

    Raises UserError that says where they were looked for.
    """
    found = known_smiles(folders)
    missing = [number for number in numbers.tolist() if number not in found]
    if missing:
        looked = ", ".join(map(str, dict.fromkeys(folders)))
        raise UserError(
            f"{where}: no SMILES for number {missing[0]}, which groups the mirror images and "
            "conformers; "
            f"put {EXTRA} (arrays index, smiles) into one of {looked}, or `pip install qm9pack`"
        )
    return [found[number] for number in numbers.tolist()]


def constitution_split(groups: Sequence[str], folder: Path) -> dict[str, Tensor]:
    """Divide constitutions 80/10/10 by `hashed_split`.

    Those that `reserved.txt` in the folder lists, if there is one, only test.
    """
    parts = hashed_split(groups, _SALT)
    path = folder / RESERVED
    if not path.is_file():
        return parts
    reserved = read_constitutions(path)
    kept = torch.tensor([name not in reserved for name in groups], dtype=torch.bool)
    moved = torch.cat([parts[name][~kept[parts[name]]] for name in ("train", "valid")])
    if len(moved):
        _LOG.info("%s: %d structures moved to the test part", path, len(moved))
    parts |= {name: parts[name][kept[parts[name]]] for name in ("train", "valid")}
    return {**parts, "test": torch.cat([parts["test"], moved]).sort().values}


def read_constitutions(path: Path) -> frozenset[str]:
    """Read a list of SMILES, the first word of each line, as constitutions.

    Lines that begin with # are notes.

    Raises UserError that names the line which cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as text ({error}); expected a list of SMILES, one per line"
        ) from error
    found = set()
    for place, line in enumerate(lines, start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            try:
                found.add(constitution_of(words[0]))
            except UserError as error:
                raise UserError(f"{path}, line {place}: {error}") from error
    return frozenset(found)
