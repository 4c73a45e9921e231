"""Divides structures into train, valid and test."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.array_files import check_rows, open_arrays, row_numbers
from molequi.errors import UserError
from molequi.runtime.gate import reading
from molequi.runtime.plain import read_json

NAMES = ("train", "valid", "test")
_SPELLINGS = {"val": "valid", "validation": "valid"}  # of split files
# Cormorant trains on 100,000 molecules of QM9, tests on a tenth of all, and validates on the rest.
_CORMORANT_TRAIN = 100_000
QM9_SIZE = 130_831


def random_split(n_frames: int, sizes: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Draw disjoint parts with a seed.

    A size below 1 is a fraction of the whole, otherwise a count.

    Raises UserError where the parts ask for more structures than there are, or train or valid would
    be empty.
    """
    counts = {name: _count(sizes.get(name, 0), n_frames) for name in NAMES}
    # Fractions that cover the whole leave no structure over and ask for none too many, whatever the
    # rounding.
    if all(0 <= sizes.get(name, 0) < 1 for name in NAMES) and math.isclose(
        sum(sizes.get(name, 0) for name in NAMES), 1.0
    ):
        counts["train"] = n_frames - counts["valid"] - counts["test"]
    total = sum(counts.values())
    if total > n_frames:
        wanted = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise UserError(
            f"the split asks for {total} structures ({wanted}) but the data has {n_frames}"
        )
    for name in ("train", "valid"):
        if not counts[name]:
            share = f"data.split.{name}={sizes.get(name, 0):g} of {n_frames} structures"
            raise UserError(
                f"the split leaves no structure for {name}: {share}; give a larger share or more "
                "data"
            )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n_frames))
    parts = order.split(
        [counts["train"], counts["valid"], counts["test"], n_frames - sum(counts.values())]
    )
    return dict(zip(NAMES, parts[:3], strict=True))


def grouped_split(
    groups: Sequence[str], sizes: Mapping[str, float], seed: int
) -> dict[str, Tensor]:
    """Draw parts of whole groups with a seed.

    Sizes as in `random_split`, met to within half a group, and at least one group for each part.

    groups: one name for each structure; those of the same name stay together. Raises UserError
    where train or valid would be empty.
    """
    counts = {name: len(rows) for name, rows in random_split(len(groups), sizes, seed).items()}
    if sum(counts.values()) == len(groups):
        counts["train"] = len(groups)  # what the rounding of the others leaves over
    members = members_of(groups)
    rows_of = list(members.values())
    waiting = [rows_of[number] for number in np.random.default_rng(seed).permutation(len(rows_of))]
    parts = {part: _take_groups(waiting, counts[part]) for part in ("valid", "test", "train")}
    for name in ("train", "valid"):
        if not len(parts[name]):
            raise UserError(
                f"the split leaves no structure for {name}: {len(groups)} structures are "
                f"{len(members)} groups that stay together"
            )
    return {name: parts[name] for name in NAMES}


def members_of(groups: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows of each group, from the name of the group of each row."""
    members: dict[str, list[int]] = {}
    for row, name in enumerate(groups):
        members.setdefault(name, []).append(row)
    return members


def _take_groups(waiting: list[list[int]], count: int) -> Tensor:
    """Take groups from the end of the list until `count` rows are there to within half a group."""
    rows: list[int] = []
    while waiting and len(rows) < count:
        if rows and len(rows) + len(waiting[-1]) / 2 > count:
            break
        rows += waiting.pop()
    return torch.tensor(sorted(rows), dtype=torch.int64)


def hashed_split(
    groups: Sequence[str], salt: str, *, train: float = 0.8, valid: float = 0.1
) -> dict[str, Tensor]:
    """Give each group its part by its own name, whatever else is in the set.

    A set may grow and every group keeps its part.

    The first four bytes of the SHA-256 of `salt:group` as a fraction: below `train` it trains,
    below `train + valid` it validates, else it tests.
    """
    fractions = np.array(
        [
            int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:4], "big") / 2**32
            for name in groups
        ]
    )
    places = np.searchsorted([train, train + valid], fractions, side="right")
    return {
        name: torch.from_numpy(np.flatnonzero(places == number))
        for number, name in enumerate(NAMES)
    }


def check_groups(parts: Mapping[str, Tensor], groups: Sequence[str], where: str) -> None:
    """Raise UserError where structures of one group stand in two parts.

    Mirror images or conformers of what is tested would be learned from.
    """
    home: dict[str, str] = {}
    for part, rows in parts.items():
        for row in rows.tolist():
            if home.setdefault(groups[row], part) != part:
                why = "its mirror images and conformers belong into one part"
                raise UserError(
                    f"{where}: {groups[row]!r} stands in {home[groups[row]]} and in {part}; {why}; "
                    "take data.split.kind=random"
                )


def cormorant_split(n_molecules: int = QM9_SIZE) -> dict[str, Tensor]:
    """Return the split of QM9 used by Cormorant, EGNN and LieConv.

    Rows of the set after the uncharacterized molecules are removed.

    As in github.com/risilab/cormorant, src/cormorant/data/prepare/qm9.py: a permutation by NumPy's
    legacy generator with seed 0, cut into 100,000 for training, a rest for validation, and a tenth
    for testing. Raises UserError for a set of another size.
    """
    if n_molecules != QM9_SIZE:
        raise UserError(
            f"the Cormorant split belongs to the {QM9_SIZE} molecules of QM9 but the data has "
            f"{n_molecules}; take data.split.kind=random"
        )
    order = torch.from_numpy(
        np.random.RandomState(0).permutation(n_molecules)
    )  # the legacy generator is the definition
    n_test = n_molecules // 10
    return dict(
        zip(
            NAMES,
            order.split([_CORMORANT_TRAIN, n_molecules - _CORMORANT_TRAIN - n_test, n_test]),
            strict=True,
        )
    )


def official_split(train: Tensor, test: Tensor, *, valid: float, seed: int) -> dict[str, Tensor]:
    """Carve the validation part out of the published training rows.

    Below 1, `valid` is a fraction of them.
    """
    n_valid = _count(valid, len(train))
    if not 0 < n_valid < len(train):
        raise UserError(
            f"data.split.valid={valid} does not fit the {len(train)} published training rows; take "
            "for example 50"
        )
    order = train[torch.from_numpy(np.random.default_rng(seed).permutation(len(train)))]
    return {"train": order[n_valid:], "valid": order[:n_valid], "test": test}


def file_split(path: str | Path, n_frames: int) -> dict[str, Tensor]:
    """Read a split from an npz (arrays train, valid, test) or a JSON file (lists), 0-based rows.

    Raises UserError for a file that is not such a split, rows that do not exist, or rows in two
    parts.
    """
    path = Path(path)
    with reading(path, "rows of train, valid and test"):
        data = read_json(path) if path.suffix == ".json" else open_arrays(path)
        parts = _parts(data if isinstance(data, dict) else {}, path)
    return check_split(parts, n_frames, str(path))


def _parts(data: Mapping[str, object], path: Path) -> dict[str, Tensor]:
    keys: dict[str, list[str]] = {}
    for key in data:
        name = key.removeprefix("split_")
        keys.setdefault(_SPELLINGS.get(name, name), []).append(key)
    missing = [name for name in NAMES if name not in keys]
    if missing:
        raise UserError(
            f"{path}: the split needs train, valid and test; {missing[0]!r} is missing, found "
            f"{', '.join(keys) or 'nothing'}"
        )
    for name in NAMES:
        if len(keys[name]) > 1:
            raise UserError(f"{path} has {' and '.join(keys[name])}; keep one of them")
    return {name: row_numbers(data[keys[name][0]], f"{path}: {name}") for name in NAMES}


def check_split(parts: Mapping[str, Tensor], n_frames: int, where: str) -> dict[str, Tensor]:
    """Return the parts; UserError for rows that do not exist or stand in two parts (or twice)."""
    rows = (
        torch.cat([parts[name] for name in parts]) if parts else torch.zeros(0, dtype=torch.int64)
    )
    check_rows(rows, n_frames, f"{where}: the split", twice="a structure belongs to one part only")
    return dict(parts)


def choose(n_frames: int, limit: int, seed: int, groups: Sequence[str] = ()) -> Tensor:
    """Return a seeded choice of `limit` rows, ascending.

    Of whole groups, and so a few rows fewer, where there are groups.
    """
    order = np.random.default_rng(seed).permutation(n_frames)
    if not groups:
        return torch.from_numpy(np.sort(order[:limit]))
    sizes = Counter(groups)
    names, total = set(), 0
    for name in dict.fromkeys(groups[row] for row in order):
        if total + sizes[name] <= limit:
            names.add(name)
            total += sizes[name]
    return torch.tensor(
        [row for row, name in enumerate(groups) if name in names], dtype=torch.int64
    )


def shrink(parts: Mapping[str, Tensor], sizes: Mapping[str, float], seed: int) -> dict[str, Tensor]:
    """Keep a seeded choice of the given number of rows of each part.

    Sizes below 1 keep the whole part. Smaller choices lie within larger ones.
    """
    shrunk = {}
    for name, rows in parts.items():
        size = sizes.get(name, 0)
        if size < 1:
            shrunk[name] = rows
            continue
        if size > len(rows):
            raise UserError(
                f"split.{name}={size:g}, but this part of the split has {len(rows)} structures"
            )
        chosen = np.random.default_rng(seed).permutation(len(rows))[: _count(size, len(rows))]
        shrunk[name] = rows[torch.from_numpy(chosen)]
    return shrunk


def restrict(parts: Mapping[str, Tensor], chosen: Tensor, n_frames: int) -> dict[str, Tensor]:
    """Renumber the parts for the subset `chosen` of the rows.

    Each part keeps its members among them.
    """
    position = torch.full((n_frames,), -1, dtype=torch.int64)
    position[chosen] = torch.arange(len(chosen))
    return {name: position[rows][position[rows] >= 0] for name, rows in parts.items()}


def _count(size: float, n_frames: int) -> int:
    if size >= 1 and size != int(size):
        raise UserError(f"split size {size} is neither a fraction below 1 nor a whole number")
    return int(size) if size >= 1 else round(size * n_frames)
