"""The messages of a frozen MACE layer, and their gradient, written out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.kernels import Edges, NodeRange, inplace
from molequi.nn.frozen.maps import PathMap
from molequi.nn.mace.interaction import LayerSplines, MaceInteraction


class Geometry(NamedTuple):
    """The edges as layers see them: harmonics (E, rows), distances (E,), Å, or gradients of both.

    edges: those of the graph, their kinds those of the splines of all layers but the first.
    first: the same with the kinds of `splines.FirstSplines`.
    """

    harmonics: Tensor
    distances: Tensor
    edges: Edges
    first: Edges


class Messages:
    """A_i = L sum_e sum_p CG_p (U h_j) Y_e R_p(r_e) / n, n a constant.

    With a density n is one here, see `layers`.
    """

    def __init__(self, layer: MaceInteraction) -> None:
        self.kernels, self.table, self.cutoff = layer.kernels, layer.table, layer.cutoff
        n = 1.0 if layer.density is not None else float(layer.neighbor_count)
        self.up, self.paths = layer.linear_up.tables(), PathMap(layer.linear_paths, 1.0 / n)
        self.n_sums = layer.table.output.dim

    def start(self, x: Tensor, up: Tensor, nodes: NodeRange) -> None:
        """Write U h of these atoms."""
        torch.bmm(nodes.of(x).transpose(0, 1), self.up, out=nodes.of(up).transpose(0, 1))

    def forward(
        self,
        up: Tensor,
        splines: LayerSplines,
        geometry: Geometry,
        sums: Tensor,
        out: Tensor,
        nodes: NodeRange,
    ) -> None:
        """Write the messages of these atoms, from U h of all; sums: (N, n_sums, C), overwritten."""
        inputs = up, geometry.harmonics, geometry.distances, splines.radial
        walk = geometry.edges, self.table, self.cutoff, self.kernels
        inplace.convolve(inputs, *walk, sums, nodes)
        self.paths.forward(nodes.of(sums), nodes.of(out))

    def pull_sums(self, g: Tensor, sums: Tensor, nodes: NodeRange) -> None:
        """Write to `sums` the gradient of the sums over edges of these atoms."""
        self.paths.transposed(nodes.of(g), nodes.of(sums))

    def backward(
        self,
        up: Tensor,
        sums: Tensor,
        splines: LayerSplines,
        geometry: Geometry,
        out: tuple[Tensor, Tensor, Tensor],
        nodes: NodeRange,
    ) -> None:
        """Write the gradients of U h, harmonics and distances to `out`, for these senders."""
        inputs = up, geometry.harmonics, geometry.distances, splines.radial, sums
        walk = geometry.edges, self.table, self.cutoff, self.kernels
        inplace.convolve_gradient(inputs, *walk, out, nodes)

    def pull_features(self, pull: Tensor, x: Tensor, nodes: NodeRange) -> None:
        """Add to `x` the gradient of the features, from that of U h."""
        rows = nodes.of(x).transpose(0, 1)
        rows.baddbmm_(nodes.of(pull).transpose(0, 1), self.up.transpose(1, 2))
