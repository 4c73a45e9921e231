"""Linear maps of nodes' rows on the CPU, for gradients written out by hand.

    out[i, k] += sum_c x[i, a, c] W_(z_i, b)[c, c']  for the steps (a, k, b),

z_i being the species of the node, where the weights know species. Such are maps between the
channels of each irrep, or of each path, and those that differ from element to element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from molequi.kernels import compiled


class SortedNodes(NamedTuple):
    """The nodes of a thread by species. order: (n,), which they are. species: (N,), of all."""

    order: np.ndarray
    species: np.ndarray


class RowMap(NamedTuple):
    """A map.

    steps: (T, 2), a and k, those of a block beside each other. starts: (B + 1,), the first step of
    each block. weights: (species, B, C_in, C), one species where all have the same.
    """

    steps: np.ndarray
    starts: np.ndarray
    weights: np.ndarray

    def write(self, x: np.ndarray, out: np.ndarray, nodes: SortedNodes) -> None:
        """Write the map of x (N, rows, C_in) to the rows of out (N, rows, C) that it reaches."""
        compiled.row_maps.write(*self, *nodes, x, out)

    def add(self, x: np.ndarray, out: np.ndarray, nodes: SortedNodes) -> None:
        """Add it to what is there."""
        compiled.row_maps.add(*self, *nodes, x, out)

    @property
    def transposed(self) -> RowMap:
        """The map of gradients, with weights of its own."""
        back = np.ascontiguousarray(self.weights.swapaxes(2, 3))
        return RowMap(np.ascontiguousarray(self.steps[:, ::-1]), self.starts, back)


def row_map(steps: Sequence[tuple[int, int, int]], weights: np.ndarray) -> RowMap:
    """Return a map of steps (a, k, b).

    Within a block no row of the output may occur twice.
    """
    ordered = np.array(sorted(steps, key=lambda step: step[2]), dtype=np.int64).reshape(-1, 3)
    starts = np.searchsorted(ordered[:, 2], np.arange(weights.shape[1] + 1))
    pairs = np.ascontiguousarray(ordered[:, :2])
    return RowMap(pairs, starts, np.ascontiguousarray(weights))
