"""What kernels go through: the edges of a graph by receiver and by sender, ranges of nodes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph


class NodeRange(NamedTuple):
    """Nodes from `first` to before `last`: those that one thread serves."""

    first: int
    last: int

    def of(self, tensor: Tensor) -> Tensor:
        """Return the part of a tensor (N, ...) that belongs to these nodes."""
        return tensor[self.first : self.last]


class Edges(NamedTuple):
    """Edges sorted by receiver, and their order by sender.

    Computed once per graph and shared by all layers.

    index: (2, E), sender and receiver. receiver_ptr, sender_ptr: (N + 1,), row pointers.
    sender_order: (E,). kinds: (E,), which splines an edge takes where there are several, see
    `convolve`; empty where there is one.
    """

    index: Tensor  # type: ignore[assignment]  # the word is wanted more here than tuple.index
    receiver_ptr: Tensor
    sender_order: Tensor
    sender_ptr: Tensor
    kinds: Tensor


def edges_of(graph: AtomGraph) -> Edges:
    """Collect the edges of `graph`."""
    senders = graph.edge_index[0].index_select(0, graph.sender_order)
    pointers = torch.searchsorted(senders, torch.arange(graph.n_atoms + 1, device=senders.device))
    kinds = graph.edge_index.new_empty(0)
    return Edges(graph.edge_index, graph.receiver_ptr, graph.sender_order, pointers, kinds)
