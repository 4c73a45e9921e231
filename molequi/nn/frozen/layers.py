"""The layers of a backbone with frozen weights.

Forward pass and gradient written out, without a graph of autograd.

Predictions, dynamics and relaxations need the features and one gradient, with respect to harmonics
and distances. Linear maps that follow one another are then multiplied once, what the first layer
makes of each element is a table, and a molecule of twenty atoms costs a quarter of the operations.
A thread takes its share of the nodes from one convolution to the next, so that threads meet once a
layer. The numbers are those of `SphericalBackbone.forward` up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

from torch import Tensor

from molequi.kernels import Edges, NodeRange, threads
from molequi.nn.frozen.buffers import Buffers, Gradients, GraphPart, Inputs
from molequi.nn.frozen.layer import FrozenLayer
from molequi.nn.frozen.workspace import Workspace, WorkspacePool
from molequi.nn.interaction import Interaction

# Radial functions to evaluate that are worth a thread of their own: some milliseconds, for below
# that threads wait for each other.
_WORTH_A_THREAD = 1_000_000


class FrozenLayers:
    """The layers of a backbone written out, and the buffers that their passes use."""

    def __init__(self, embedding: Tensor, layers: Iterable[Interaction]) -> None:
        self.layers = [FrozenLayer(layer) for layer in layers]
        self.elements = self.layers[0].element_tables(embedding[:, None, :])
        self.workspaces = WorkspacePool()

    def node_ranges(self, edges: Edges) -> list[NodeRange]:
        """Share the nodes out among threads, which keep theirs until the next convolution."""
        cost = sum(layer.splines.shape[1] * layer.splines.shape[2] for layer in self.layers)
        return threads.cut(edges.receiver_ptr.numpy(), cost=cost, worth=_WORTH_A_THREAD)

    def forward(self, parts: Sequence[GraphPart], workspace: Workspace) -> list[Buffers]:
        """Run the layers; the last one's features are the result."""
        n_nodes = len(parts[0].species)
        scratch = workspace.empty(
            parts[0].harmonics, n_nodes * max(layer.n_raw for layer in self.layers)
        )
        kept = [layer.buffers(n_nodes, workspace, scratch) for layer in self.layers]
        threads.each(functools.partial(self.elements.look_up, kept[0]), parts)
        for number in range(len(self.layers)):
            threads.each(functools.partial(self._forward_step, number, kept), parts)
        return kept

    def _forward_step(self, number: int, kept: list[Buffers], part: GraphPart) -> None:
        self.layers[number].post_convolution(kept[number], part)
        if number + 1 < len(self.layers):
            self.layers[number + 1].pre_convolution(kept[number].out, kept[number + 1], part)

    def backward(
        self,
        g: Tensor,
        of_invariants: Sequence[Tensor],
        kept: list[Buffers],
        parts: Sequence[GraphPart],
        workspace: Workspace,
    ) -> list[Inputs]:
        """Go back through the layers; g: gradient of the features, overwritten.

        of_invariants: (N, C) of each layer's invariants.
        """
        like = [(buffers.h, parts[0].harmonics, parts[0].distances) for buffers in kept]
        inputs = [Inputs(*(workspace.empty(x, *x.shape) for x in tensors)) for tensors in like]
        mark = workspace.mark()
        for number in range(len(self.layers) - 1, -1, -1):
            layer, buffers = self.layers[number], kept[number]
            workspace.restart(mark)  # one layer's gradients at a time
            gradients = layer.gradients(buffers, inputs[number], workspace)
            g[:, 0] += of_invariants[number]
            threads.each(functools.partial(layer.backward_nodes, g, buffers, gradients), parts)
            threads.each(functools.partial(self._backward_step, number, buffers, gradients), parts)
            g = inputs[number].x
        return inputs

    def _backward_step(
        self, number: int, buffers: Buffers, gradients: Gradients, part: GraphPart
    ) -> None:
        self.layers[number].backward_edges(buffers, gradients, part)
        # What the first layer is given depends on no position.
        if number:
            self.layers[number].backward_input(gradients, part)
