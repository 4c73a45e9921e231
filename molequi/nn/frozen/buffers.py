"""What passes through frozen layers: the graph, what they compute, and its gradients."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from molequi.kernels import Edges, NodeRange


class Buffers(NamedTuple):
    """What a layer computes, and keeps for its gradient; all (N, components, C).

    h: features after the first map. raw: the messages as the convolution gives them, not kept where
    they are mixed. powers: of the messages.
    before, gates, out: of the gate.
    """

    h: Tensor
    raw: Tensor
    powers: list[Tensor]
    before: Tensor
    gates: Tensor
    out: Tensor


class Inputs(NamedTuple):
    """Gradients with respect to what a layer is given.

    Features x (N, M_in, C), harmonics y (E, components), distances r (E,).
    """

    x: Tensor
    y: Tensor
    r: Tensor


class Gradients(NamedTuple):
    """Gradients with respect to what `Buffers` of the same names hold.

    Pair: those of the two factors of a product.
    """

    h: Tensor
    raw: Tensor
    powers: list[Tensor]
    pair: tuple[Tensor, Tensor]
    before: Tensor
    inputs: Inputs


class GraphPart(NamedTuple):
    """The graph as layers see it, and the nodes of it that a thread serves."""

    harmonics: Tensor
    distances: Tensor
    edges: Edges
    species: Tensor
    nodes: NodeRange

    def own(self, tensor: Tensor) -> Tensor:
        """Return the part of a tensor (N, ...) that belongs to this thread's nodes."""
        return self.nodes.of(tensor)

    def own_scratch(self, scratch: Tensor, like: Tensor) -> Tensor:
        """Return a tensor like (N, M, C) in scratch (N, M' >= M, C).

        This thread's nodes lie in what are its nodes of scratch too. Threads that are at different
        M then do not write into each other's nodes.
        """
        first = self.nodes.first * (scratch.shape[1] - like.shape[1]) * like.shape[2]
        return scratch.flatten()[first : first + like.numel()].view(like.shape)
