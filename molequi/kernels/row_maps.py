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
    """The nodes that a thread serves, by species. order: (n,), which. species: (N,), of all."""

    order: np.ndarray
    species: np.ndarray


class RowMap(NamedTuple):
    """A map. steps: (T, 3), a, k, b. weights: (species, blocks, C_in, C), one species for all."""

    steps: np.ndarray
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
        weights = np.ascontiguousarray(self.weights.swapaxes(2, 3))
        return RowMap(np.ascontiguousarray(self.steps[:, [1, 0, 2]]), weights)


def row_map(steps: Sequence[tuple[int, int, int]], weights: np.ndarray) -> RowMap:
    """Return a map, its steps in the order of their blocks."""
    ordered = sorted(steps, key=lambda step: step[2])
    return RowMap(np.array(ordered, dtype=np.int64).reshape(-1, 3), np.ascontiguousarray(weights))
