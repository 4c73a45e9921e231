"""The backbone: from a graph to node features of exact symmetry."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import Edges, edges_of, inplace, threads
from molequi.kernels.species_rows import rows_of_species
from molequi.nn.backbones.base import (
    BackboneBase,
    BetweenLayers,
    Capabilities,
    NodeFeatures,
    check_choice,
    check_kernels,
    settings_of,
    unchanged,
)
from molequi.nn.backbones.layer_irreps import irreps_of_layers
from molequi.nn.contraction import SymmetricContraction
from molequi.nn.frozen.autograd import FrozenPass, Geometry
from molequi.nn.frozen.layers import FrozenLayers
from molequi.nn.interaction import PRODUCTS, Interaction
from molequi.nn.irreps_layers import IrrepsDropout, IrrepsNorm
from molequi.nn.module_list import ModuleListOf
from molequi.nn.nearest import held, least_distances
from molequi.nn.product import ManyBodyProduct
from molequi.nn.radial import envelope
from molequi.o3.irreps import Irreps
from molequi.o3.spherical_harmonics import spherical_harmonics


class SphericalBackbone(BackboneBase):
    """Message passing on features that turn like spherical harmonics.

    elements: the atomic numbers it knows. cutoff: Å. parity: `natural` (0e 1o 2e ...) or `full`
    (both parities of each l).
    correlation: 1, or 2 or 3 for products of up to that many messages. l_hidden: largest l of the
    features between layers, l_max by default. mixing: `merged` or `separate` paths, see
    `Interaction`. n_hidden: width of the radial networks. n_readout: of those of heads, which run
    once an atom. self_connection: `factors` or `matrices` by species, see `SelfConnection`.
    held_below: in units of the sum of covalent radii, below which distances stop shrinking, see
    `nn.nearest`; for models with a repulsion beside them. normalization: `none` or `irreps`, after
    each layer, see `IrrepsNorm`. dropout: share of the irreps of a channel that each layer drops in
    training, see `IrrepsDropout`. product: `chained`, see `ManyBodyProduct`, or `symmetric`, see
    `SymmetricContraction`.
    irreps_out: of the last layer; all hidden ones by default.
    Raises UserError for settings that make no network.
    """

    architecture = "spherical"
    # Made by `write_out` alone.
    _written_out: FrozenLayers | None = None
    advice = "raise l_max, use parity=full for handed and axial outputs, or add a layer"

    def __init__(  # noqa: PLR0913 (all keyword settings of an architecture)
        self,
        elements: Sequence[int],
        cutoff: float = 5.0,
        *,
        n_layers: int = 2,
        n_channels: int = 32,
        l_max: int = 2,
        parity: str = "natural",
        correlation: int = 1,
        n_radial: int = 8,
        n_hidden: int = 32,
        n_readout: int = 32,
        l_hidden: int | None = None,
        mixing: str = "merged",
        self_connection: str = "factors",
        held_below: float | None = None,
        normalization: str = "none",
        dropout: float = 0.0,
        product: str = "chained",
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__(elements, settings_of(locals()))
        check_choice("parity", parity, ("natural", "full"))
        check_choice("mixing", mixing, ("merged", "separate"))
        check_choice("self_connection", self_connection, ("factors", "matrices"))
        check_choice("normalization", normalization, ("none", "irreps"))
        check_choice("product", product, tuple(PRODUCTS))
        self.l_max, self.n_channels, self.n_layers = l_max, n_channels, n_layers
        self.held_below = held_below
        irreps = irreps_of_layers(n_layers, parity, l_max, l_hidden, correlation, irreps_out)
        self.embedding = nn.Parameter(torch.randn(len(elements), n_channels))
        self.layers = ModuleListOf(
            Interaction(
                *pair, n_channels, len(elements), (cutoff, n_radial, n_hidden), l_max,
                correlation=correlation, mixing=mixing, self_connection=self_connection,
                product=product,
            )
            for pair in itertools.pairwise(irreps)
        )  # fmt: skip
        self.after = ModuleListOf(
            _after(own, n_channels, normalization, dropout) for own in irreps[1:]
        )
        self.irreps_out = irreps[-1]
        self.use_kernels("auto")

    @property
    def capabilities(self) -> Capabilities:
        """Everything."""
        return Capabilities(vectors=True, equivariant=True, fused_kernels=True)

    @property
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""
        return self.n_layers * self.n_channels

    def set_neighbor_count(self, mean: float) -> None:
        """Set the neighbour count n of every layer.

        Messages are divided by sqrt(n), never by the degree of an atom.
        """
        for layer in self.layers:
            layer.neighbor_count.fill_(max(float(mean), 1e-3))

    def calibrate(self, graph: AtomGraph, *, first: int = 0) -> None:
        """Set n of the layers from `first` on so that messages have unit mean square on `graph`.

        Neighbours of one element send nearly the same message, so the mean neighbour count alone
        would understate n.
        """
        with torch.no_grad():
            species, edges = self.species_of_number[graph.atomic_numbers], edges_of(graph)
            harmonics, distances = self._geometry(graph)(edge_vectors(graph), slice(None))
            features = rows_of_species(species, self.embedding)[:, None, :]
            for place, (layer, after) in enumerate(zip(self.layers, self.after, strict=True)):
                if place >= first:
                    layer.calibrate(features, harmonics, distances, edges, species)
                features = after(layer(features, harmonics, distances, edges, species))

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes the convolutions.

        `reference`: plain torch. `generic`: fused kernels, compiled once per dtype and machine.
        `specialized`: compiled for a network, faster for forces. `triton`: fused kernels on a GPU;
        the other fused forms are for the CPU. `auto`: plain torch here; trainings, and a frozen
        model as it works, change to what their work is worth, see `models.freeze`.
        """
        check_kernels(kernels)
        self.kernels = kernels
        for module in self.modules():
            if isinstance(module, Interaction | ManyBodyProduct | SymmetricContraction):
                module.kernels = "reference" if kernels == "auto" else kernels

    def operations(self, n_edges: int) -> float:
        """Return the multiplications of one pass over so many edges: a term of a table each."""
        n_terms = sum(len(layer.table.value) for layer in self.layers)
        return float(n_edges * self.n_channels * n_terms)

    @property
    def n_terms(self) -> int:
        """Terms of the largest coupling table."""
        return max(len(layer.table.value) for layer in self.layers)

    def write_out(self) -> None:
        """Write the layers out where fused kernels serve: see `nn.frozen`."""
        with torch.no_grad():
            self._written_out = (
                FrozenLayers(self.embedding, self.layers)
                if self._is_served() and self.settings["normalization"] == "none"
                else None
            )

    def threads_for_prediction(self, graph: AtomGraph) -> contextlib.AbstractContextManager[None]:
        """Return a context for a prediction.

        Where there are kernels, OpenMP's threads would be in their way.
        """
        if self._is_served():
            return threads.without_openmp()
        return super().threads_for_prediction(graph)

    def _is_served(self) -> bool:
        return inplace.serves(self.embedding, self.layers[0].kernels)

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        return self.forward_along(edge_vectors(graph), graph, edges_of(graph))

    def forward_along(
        self, vectors: Tensor, graph: AtomGraph, edges: Edges, exchange: BetweenLayers = unchanged
    ) -> NodeFeatures:
        """Compute what `forward` does along edge vectors (E, 3), float64, Å, of the graph's edges.

        exchange: what the features of every layer but the last go through. No value of a tensor is
        asked for, so that a CUDA graph may capture it.
        """
        species = self.species_of_number[graph.atomic_numbers]
        harmonics, distances = self._geometry(graph)(vectors, slice(None))
        features, invariants = rows_of_species(species, self.embedding)[:, None, :], list[Tensor]()
        for layer, after in zip(self.layers, self.after, strict=True):
            features = exchange(features) if invariants else features
            features = after(layer(features, harmonics, distances, edges, species))
            invariants.append(features[:, 0])
        return self._node_features(features, torch.cat(invariants, dim=1), distances)

    def forward_once(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features that are differentiable once, in positions and cell alone."""
        layers = self._written_out
        if layers is None:
            return self(graph)
        species = self.species_of_number[graph.atomic_numbers]
        return self._node_features(
            *FrozenPass.apply(
                edge_vectors(graph),
                self._geometry(graph),
                layers,
                edges_of(graph),
                species,
                self.n_gradients,
            )
        )

    def _node_features(
        self, features: Tensor, invariant: Tensor, distances: Tensor
    ) -> NodeFeatures:
        return NodeFeatures(features, invariant, distances, envelope(distances, self.cutoff))

    def _geometry(self, graph: AtomGraph) -> Geometry:
        """Return what makes harmonics (E, (l_max + 1)^2) and distances (E,), in the model's dtype.

        Of edge vectors in float64, and which edges of the graph they are.
        """
        dtype, share = self.embedding.dtype, self.held_below
        least = None if share is None else least_distances(graph, share)

        def geometry(vectors: Tensor, edges: slice) -> tuple[Tensor, Tensor]:
            # A zero vector gets length 1e-6 Å and a zero gradient, for want of a direction.
            distances = vectors.square().sum(dim=1).clamp(min=1e-12).sqrt()
            harmonics = spherical_harmonics((vectors / distances[:, None]).to(dtype), self.l_max)
            if least is not None:
                distances = held(distances, least[edges])
            return harmonics, distances.to(dtype)

        return geometry


def _after(irreps: Irreps, n_channels: int, normalization: str, dropout: float) -> nn.Module:
    """Return what acts on the features of a layer, without weights where nothing is asked for."""
    return nn.Sequential(
        IrrepsNorm(irreps, n_channels) if normalization == "irreps" else nn.Identity(),
        IrrepsDropout(irreps, dropout) if dropout else nn.Identity(),
    )
