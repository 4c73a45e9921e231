"""The linear maps of a frozen MACE layer, as steps over the rows of nodes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from molequi.kernels.row_maps import RowMap, row_map
from molequi.nn.linear import IrrepsLinear, PathLinear
from molequi.nn.mace.interaction import SpeciesLinear
from molequi.o3.irreps import Irreps


def of_irreps(linear: IrrepsLinear) -> RowMap:
    """Return the map between the channels of each irrep."""
    weights = linear.tables()[_first_components(linear.irreps)]
    rows = range(linear.irreps.dim)
    return row_map(
        list(zip(rows, rows, _blocks(linear.irreps), strict=True)), _array(weights[None])
    )


def of_paths(linear: PathLinear, factor: float) -> RowMap:
    """Return the map of separate paths into the irreps, times a number."""
    steps, row_in, row_out, block = [], 0, 0, 0
    for irrep, count in zip(linear.irreps, linear.counts, strict=True):
        for _ in range(irrep.dim):
            steps += [(row_in + path, row_out, block + path) for path in range(count)]
            row_in, row_out = row_in + count, row_out + 1
        block += count
    n_channels = linear.tables()[0].shape[1]
    weights = torch.cat(linear.tables()) * factor
    return row_map(steps, _array(weights.view(1, block, n_channels, n_channels)))


def of_species(linear: SpeciesLinear) -> RowMap:
    """Return the map of each species between the irreps that input and output share."""
    shared = linear.shared
    rows = (components.tolist() for components in (shared.components_in, shared.components_out))
    steps = list(zip(*rows, _blocks(shared.irreps), strict=True))
    return row_map(steps, _array(linear.tables()[:, _first_components(shared.irreps)]))


def _first_components(irreps: Irreps) -> list[int]:
    """Return the first component of each irrep, where tables have every one."""
    return [rows.start for rows in irreps.slices()]


def _blocks(irreps: Irreps) -> list[int]:
    """Return for each component the place of its irrep."""
    return [place for place, irrep in enumerate(irreps) for _ in range(irrep.dim)]


def _array(weights: Tensor) -> np.ndarray:
    return weights.detach().numpy()
