"""Structures of one part of a split that stand in another: the same, or the same molecule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import Tensor

from molequi.datasets.contacts import Fingerprints, fingerprints, name_of
from molequi.datasets.in_memory import Frames

# Sums over pairs agree so far, relatively, where a file has six decimals.
_SAME = 1e-6


def molecules_of(frames: Frames) -> tuple[str, ...]:
    """Name the molecule of each structure by its elements and bonds, for `splits.grouped_split`.

    Conformers, mirror images and frames of a trajectory have one name; a crystal has its own.
    """
    prints = fingerprints(frames)
    return tuple(
        f"crystal {row}" if np.isnan(prints.inverse[row]) else f"{name:016x}"
        for row, name in enumerate(prints.constitution.tolist())
    )


class Shared(NamedTuple):
    """Lines about structures, and about molecules, that another part shares with train."""

    structures: list[str]
    molecules: list[str]


def shared_with_training(frames: Frames, parts: Mapping[str, Tensor]) -> Shared:
    """Tell what each part shares with the training part.

    Structures are the same up to rotation, reflection and the order of atoms; molecules have the
    same elements and bonds. A set of one molecule shares it of course, and nothing is said.
    """
    prints = fingerprints(frames)
    train = parts["train"].numpy()
    several = len(np.unique(prints.constitution)) > 1
    shared = Shared([], [])
    for name in ("valid", "test"):
        rows = parts[name].numpy().astype(np.int64)
        twins = [(row, twin) for row in rows if (twin := _twin(prints, train, row)) is not None]
        if twins:
            row, twin = twins[0]
            shared.structures.append(
                f"{len(twins)} of {len(rows)} structures of {name} stand in train too, up to "
                f"rotation, reflection and order (first {name_of(frames, row)}, as "
                f"{name_of(frames, twin)}): errors on {name} are too small; leave each in once"
            )
        n_known = int(np.isin(prints.constitution[rows], prints.constitution[train]).sum())
        if several and n_known > len(twins):
            shared.molecules.append(
                f"{n_known} of {len(rows)} structures of {name} are molecules that train has too, "
                "in another geometry: errors on them are not those on new molecules; "
                "data.split.kind=molecules keeps each in one part"
            )
    return shared


def _twin(prints: Fingerprints, train: np.ndarray, row: int) -> int | None:
    """Return the row of the training part that is the same structure, or None."""
    if np.isnan(prints.inverse[row]):
        return None
    same = (
        (prints.formula[train] == prints.formula[row])
        & np.isclose(prints.inverse[train], prints.inverse[row], rtol=_SAME, atol=0.0)
        & np.isclose(prints.direct[train], prints.direct[row], rtol=_SAME, atol=0.0)
    )
    return int(train[same][0]) if same.any() else None
