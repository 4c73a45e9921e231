"""The messages of a frozen MACE layer, and their gradient, written out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molequi.kernels.prepared import Convolution, Geometry, Splines, Walk
from molequi.nn.mace.frozen import maps
from molequi.nn.mace.frozen.update import Atoms
from molequi.nn.mace.interaction import MaceInteraction


class EdgeArrays(NamedTuple):
    """The edges as layers see them.

    kinds: (E,), of the splines of all layers but the first, see `Edges`. first: those of the first.
    """

    geometry: Geometry
    walk: Walk
    kinds: np.ndarray
    first: np.ndarray


class Messages:
    """A_i = L sum_e sum_p CG_p (U h_j) Y_e R_p(r_e) / n, n a constant.

    With a density n is one here, see `layers`.
    """

    def __init__(self, layer: MaceInteraction) -> None:
        n = 1.0 if layer.density is not None else float(layer.neighbor_count)
        self.up, self.paths = (
            maps.of_irreps(layer.linear_up),
            maps.of_paths(layer.linear_paths, 1.0 / n),
        )
        self.up_back, self.paths_back = self.up.transposed, self.paths.transposed
        self.convolution = Convolution(layer.table, layer.kernels, layer.linear_up.dtype)
        self.n_up, self.n_sums = layer.linear_up.irreps.dim, layer.table.output.dim

    def start(self, x: np.ndarray, up: np.ndarray, atoms: Atoms) -> None:
        """Write U h of these atoms."""
        self.up.write(x, up, atoms.sorted)

    def forward(
        self,
        up: np.ndarray,
        splines: Splines,
        edges: EdgeArrays,
        sums: np.ndarray,
        out: np.ndarray,
        atoms: Atoms,
    ) -> None:
        """Write the messages of these atoms, from U h of all; sums: (N, n_sums, C), overwritten."""
        seen = edges.geometry, splines, edges.kinds, edges.walk
        self.convolution.write(up, *seen, sums, atoms.nodes)
        self.paths.write(sums, out, atoms.sorted)

    def pull_sums(self, g: np.ndarray, sums: np.ndarray, atoms: Atoms) -> None:
        """Write to `sums` the gradient of the sums over edges of these atoms."""
        self.paths_back.write(g, sums, atoms.sorted)

    def backward(
        self,
        up: np.ndarray,
        splines: Splines,
        edges: EdgeArrays,
        sums: np.ndarray,
        out: tuple[np.ndarray, Geometry],
        atoms: Atoms,
    ) -> None:
        """Write the gradients of U h, harmonics and distances to `out`, for these senders."""
        inputs = up, edges.geometry, splines, sums, edges.kinds, edges.walk
        self.convolution.write_gradient(*inputs, out, atoms.nodes)

    def pull_features(self, pull: np.ndarray, x: np.ndarray, atoms: Atoms) -> None:
        """Add to `x` the gradient of the features, from that of U h."""
        self.up_back.add(pull, x, atoms.sorted)
