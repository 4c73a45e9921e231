"""Values of atoms that few structures have, stored for these alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.array_files import check_rows, row_numbers
from molequi.datasets.in_memory import Frames
from molequi.datasets.offsets import atom_rows, offsets_of
from molequi.errors import UserError


def structures_name(name: str) -> str:
    """Name the array that says which structures have the values called `name`."""
    return f"{name}_structures"


def compact(frames: Frames, name: str) -> dict[str, np.ndarray]:
    """Return the arrays of a target: all its values, or the known ones and their structures.

    The latter where it is one of atoms and at most half of the structures have any.
    """
    values = frames.targets[name].numpy()
    if not frames.properties[name].per_atom:
        return {name: values}
    owner = np.repeat(np.arange(len(frames)), frames.n_atoms.numpy())
    known = ~np.isnan(values.reshape(len(values), -1)).all(axis=1)
    structures = np.unique(owner[known])
    if 2 * len(structures) > len(frames):
        return {name: values}
    return {structures_name(name): structures, name: values[np.isin(owner, structures)]}


def expand(
    arrays: Mapping[str, np.ndarray], name: str, n_atoms: np.ndarray, where: object
) -> Tensor:
    """Return the values of a target as `compact` found them, NaN where there were none.

    n_atoms: (B,). The structures may stand in any order, their values in the same one. Raises
    UserError where the two arrays do not fit, or a structure is none of the data or stands there
    twice; `where` names the file.
    """
    values = arrays[name]
    if structures_name(name) not in arrays:
        return torch.from_numpy(values)
    structures = row_numbers(arrays[structures_name(name)], f"{where}: {structures_name(name)!r}")
    check_rows(
        structures, len(n_atoms), f"{where}: {structures_name(name)!r}", twice="give each once"
    )
    offsets = offsets_of(torch.from_numpy(n_atoms.astype(np.int64)))
    rows = atom_rows(offsets, structures).rows
    if len(rows) != len(values):
        raise UserError(
            f"{where}: {name!r} has values of {len(values)} atoms, but the {len(structures)} "
            f"structures of {structures_name(name)!r} have {len(rows)}"
        )
    full = np.full((int(offsets[-1]), *values.shape[1:]), np.nan)
    full[rows.numpy()] = values
    return torch.from_numpy(full)
