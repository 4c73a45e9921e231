"""Values of atoms that few structures have, stored for these alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
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

    n_atoms: (B,). Raises UserError where the two arrays do not fit; `where` names the file.
    """
    values = arrays[name]
    if structures_name(name) not in arrays:
        return torch.from_numpy(values)
    structures = arrays[structures_name(name)]
    has_values = np.isin(np.arange(len(n_atoms)), structures).repeat(n_atoms)
    if has_values.sum() != len(values):
        raise UserError(
            f"{where}: {name!r} has values of {len(values)} atoms, but the {len(structures)} "
            f"structures of {structures_name(name)!r} have {int(has_values.sum())}"
        )
    full = np.full((len(has_values), *values.shape[1:]), np.nan)
    full[has_values] = values
    return torch.from_numpy(full)
