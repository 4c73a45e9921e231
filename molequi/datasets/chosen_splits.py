"""Splits that ask more of a model than a random one: new scaffolds, larger molecules, later dates.

And the folds of a cross-validation.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from rdkit import Chem, rdBase
from rdkit.Chem.Scaffolds import MurckoScaffold
from torch import Tensor

from molequi.datasets.splits import NAMES, grouped_split, members_of, random_split
from molequi.errors import UserError

_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%Y-%m", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")

_LAST_YEAR = 9999


def scaffold_groups(cells: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Name the scaffold of each structure, for `splits.grouped_split`.

    The scaffold is the rings and what links them (G. W. Bemis and M. A. Murcko, J. Med. Chem. 39
    (1996) 2887), without stereo marks. Molecules without a ring share nothing: each is its own.
    Raises UserError where there are no SMILES.
    """
    if not cells or not all(entry.get("smiles") for entry in cells):
        raise UserError(
            "data.split.kind=scaffold needs SMILES, and these data have none; take size"
        )
    return tuple(map(_scaffold, (entry["smiles"] for entry in cells)))


def _scaffold(smiles: str) -> str:
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        Chem.RemoveStereochemistry(molecule)
        scaffold = MurckoScaffold.MurckoScaffoldSmiles(mol=molecule)
        return scaffold or f"chain {Chem.MolToSmiles(molecule)}"


def times(cells: Sequence[Mapping[str, str]], column: str | None) -> list[float]:
    """Return the times that stand in a column: numbers such as years, or dates, as numbers.

    Raises UserError for a column that is not there, for a cell that is neither, and for numbers
    beside dates that are no years.
    """
    if column is None or not any(column in entry for entry in cells):
        known = ", ".join(cells[0]) if cells else "none"
        raise UserError(
            "data.split.kind=time needs data.split.column=NAME of the column with dates or years; "
            f"the columns are {known}"
        )
    texts = [entry.get(column, "") for entry in cells]
    numbers = [number for text in texts if (number := _number(text)) is not None]
    if len(numbers) < len(texts) and max(numbers, default=0.0) > _LAST_YEAR:
        raise UserError(
            f"data.split.column={column}: {max(numbers):.0f} stands beside dates and is no year; "
            "write all dates in one way, such as 2024-07-31"
        )
    return [_time(text, column) for text in texts]


def _number(text: str) -> float | None:
    """Return a finite number, None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _time(text: str, column: str) -> float:
    number = _number(text)
    if number is not None:
        return number
    for form in _DATES:
        try:
            date = datetime.datetime.strptime(text.strip(), form)
        except ValueError:
            continue
        start = datetime.datetime(date.year, 1, 1)
        days = (datetime.datetime(date.year + 1, 1, 1) - start).days
        return date.year + (date - start).total_seconds() / (86400 * days)
    raise UserError(
        f"data.split.column={column}: {text!r} is no date; write 2024-07-31, 31.07.2024 or 2024"
    )


def ordered_split(
    values: Sequence[float], sizes: Mapping[str, float], seed: int
) -> dict[str, Tensor]:
    """Train on the smallest values, validate on those that follow, test on the largest.

    Sizes as in `random_split`, which draws what lies between equal values with `seed`.
    """
    counts = [len(rows) for rows in random_split(len(values), sizes, seed).values()]
    shuffled = np.random.default_rng(seed).permutation(len(values))
    order = shuffled[np.argsort(np.asarray(values)[shuffled], kind="stable")]
    n_left = len(values) - sum(counts)
    train, _, *rest = torch.from_numpy(order).split([counts[0], n_left, *counts[1:]])
    return dict(zip(NAMES, (train, *rest), strict=True))


def fold_split(
    groups: Sequence[str], n_folds: int, fold: int, valid: float, seed: int
) -> dict[str, Tensor]:
    """Test on fold number `fold` of `n_folds`, from 1, and train on the others but for `valid`.

    groups: structures of one name stay together. Every structure is tested in exactly one fold.
    Raises UserError where there are fewer groups than folds, no such fold, or nothing to train on.
    """
    members = members_of(groups)
    if not 1 <= fold <= n_folds or len(members) < n_folds:
        raise UserError(
            f"data.split.fold={fold} of data.split.folds={n_folds}: there are folds 1 to "
            f"{n_folds}, of {len(members)} molecules or groups that stay together"
        )
    rows_of = list(members.values())
    folds: list[list[int]] = [[] for _ in range(n_folds)]
    for number in np.random.default_rng(seed).permutation(len(rows_of)):
        min(folds, key=len).extend(rows_of[number])
    test = torch.tensor(sorted(folds[fold - 1]))
    others = torch.tensor(sorted(row for one in folds if one is not folds[fold - 1] for row in one))
    if valid >= len(others):
        raise UserError(
            f"data.split.valid={valid:g} leaves no structure for train: {len(others)} lie outside "
            f"fold {fold}; give a smaller number, or a fraction below 1"
        )
    names = [groups[row] for row in others.tolist()]
    share = {"train": 1.0 - valid if valid < 1 else len(others) - valid, "valid": valid}
    parts = grouped_split(names, share, seed)
    return {"train": others[parts["train"]], "valid": others[parts["valid"]], "test": test}
