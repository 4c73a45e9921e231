"""A MACE network with fixed weights: its layers written out, its radial functions splines."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import edges_of
from molequi.nn.mace.frozen.autograd import FrozenMacePass, Plan
from molequi.nn.mace.frozen.layers import FrozenMaceLayers
from molequi.nn.mace.frozen.splines import ElementSplines, OrderedPairSplines
from molequi.nn.mace.interaction import MaceInteraction


class FrozenMace:
    """What a backbone makes of itself for predictions on a CPU.

    embedding: (S, C), features of the species. tables: radial functions of all layers.
    """

    def __init__(
        self,
        embedding: Tensor,
        layers: Sequence[MaceInteraction],
        tables: ElementSplines | OrderedPairSplines,
    ) -> None:
        maps_first = tables.maps.connection is None
        self.layers = FrozenMaceLayers(embedding, layers, maps_first=maps_first)
        self.tables = tables
        self.n_harmonics = layers[0].table.second.dim

    def __call__(
        self, graph: AtomGraph, species: Tensor, vectors: tuple[slice, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Return what `FrozenMacePass` does; None where no splines serve.

        species: (N,). vectors: rows of the vectors of each layer that are asked for.
        """
        splines = self.tables.find(species, graph.edge_index)
        if splines is None:
            return None
        plan = Plan(self.layers, splines, edges_of(graph), species, self.n_harmonics, vectors)
        return FrozenMacePass.apply(edge_vectors(graph), plan)
