"""MACE: two layers whose messages are multiplied with themselves."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import Edges, edges_of, inplace, threads
from molequi.kernels.species_rows import rows_of_species
from molequi.nn.backbones.base import (
    BetweenLayers,
    Capabilities,
    NodeFeatures,
    check_choice,
    check_kernels,
    settings_of,
    unchanged,
)
from molequi.nn.backbones.mace_radial import MaceRadial
from molequi.nn.mace.frozen.network import FrozenMace
from molequi.nn.mace.frozen.splines import (
    ElementSplines,
    FirstMaps,
    OrderedPairSplines,
    may_take_receivers,
)
from molequi.nn.mace.interaction import (
    BLOCKS,
    EdgeInputs,
    LayerSizes,
    MaceInteraction,
)
from molequi.nn.mace.pair_splines import PairSplines
from molequi.nn.mace.radial import BASES, TRANSFORMS, EdgeBasis
from molequi.nn.module_list import ModuleListOf
from molequi.o3.irreps import Irrep, Irreps
from molequi.o3.spherical_harmonics import spherical_harmonics

_VECTOR = Irrep.parse("1o")


class MaceBackbone(MaceRadial):
    """Batatia et al., MACE, NeurIPS 2022, as mace-torch 0.3.16 computes it.

    elements: the atomic numbers it knows. cutoff: Å. hidden: irreps of the features between layers;
    those of messages are 0e, 1o, ... up to l_max, in both parities where `hidden` has 0o.
    correlation: messages in a product. first_block, block: of the first and of the other layers,
    see `MaceInteraction`. radial_basis, distance_transform, envelope_power: see `EdgeBasis`.
    late_envelope: the envelope stands after the radial networks, not before. radial_widths: of
    these networks. n_readout: of the network that heads read the features with. radial_splines:
    predictions, and fused kernels, take splines through the radial networks, see `takes_splines`.
    irreps_out: of the last layer; all hidden ones by default.
    Raises UserError for settings that make no network.
    """

    architecture = "mace"
    # Made by `write_out` alone.
    _written_out: FrozenMace | None = None
    advice = "raise l_max, or add irreps to hidden"

    def __init__(  # noqa: PLR0913 (all keyword settings of an architecture)
        self,
        elements: Sequence[int],
        cutoff: float = 5.0,
        *,
        n_layers: int = 2,
        n_channels: int = 32,
        l_max: int = 3,
        hidden: str = "0e+1o",
        correlation: int = 3,
        first_block: str = "residual",
        block: str = "residual",
        n_radial: int = 8,
        radial_basis: str = "bessel",
        distance_transform: str = "none",
        envelope_power: int = 5,
        late_envelope: bool = False,
        radial_widths: Sequence[int] = (64, 64, 64),
        n_readout: int = 16,
        radial_splines: bool = True,
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__(elements, settings_of(locals()))
        self.settings["radial_widths"] = list(radial_widths)
        _check_choices(first_block, block, radial_basis, distance_transform)
        self.n_layers, self.n_channels, self.l_max = n_layers, n_channels, l_max
        functions = n_radial, radial_basis, distance_transform, envelope_power
        self.basis = EdgeBasis(elements, float(cutoff), *functions)
        self.pair_splines = PairSplines(len(elements))
        self.embedding = nn.Parameter(torch.randn(len(elements), n_channels))
        irreps = _hidden(hidden)
        messages = (Irreps.full if Irrep.parse("0o") in irreps else Irreps.natural)(l_max)
        self.irreps_out = Irreps(x for x in irreps if x.is_scalar or x in (irreps_out or irreps))
        of_layers = [Irreps("0e"), *[irreps] * (n_layers - 1), self.irreps_out]
        widths = n_radial, *radial_widths
        sizes = LayerSizes(n_channels, len(elements), l_max, correlation, widths, float(cutoff))
        self.layers = ModuleListOf(
            MaceInteraction(pair, messages, sizes, block if k else first_block, late_envelope)
            for k, pair in enumerate(itertools.pairwise(of_layers))
        )

    @property
    def capabilities(self) -> Capabilities:
        """Vectors where the last layer has them."""
        return Capabilities(
            vectors=_VECTOR in self.irreps_out, equivariant=True, fused_kernels=True
        )

    @property
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""
        return self.n_layers * self.n_channels

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        return self.forward_along(edge_vectors(graph), graph, edges_of(graph))

    def forward_along(
        self, vectors: Tensor, graph: AtomGraph, edges: Edges, exchange: BetweenLayers = unchanged
    ) -> NodeFeatures:
        """Compute what `forward` does along edge vectors: see `SphericalBackbone`."""
        species = self.species_of_number[graph.atomic_numbers]
        # A zero vector gets length 1e-6 Å and a zero gradient instead of an undefined direction.
        lengths = vectors.square().sum(dim=1).clamp(min=1e-12).sqrt()
        distances = lengths.to(self.dtype)
        harmonics = spherical_harmonics((vectors / lengths[:, None]).to(self.dtype), self.l_max)
        radial = self.radial(distances, species, graph.edge_index)
        edges = edges._replace(kinds=radial.kinds)
        inputs = EdgeInputs(edges, harmonics, distances, radial.scalars)
        features, outputs = rows_of_species(species, self.embedding)[:, None, :], list[Tensor]()
        for layer, of_layer in zip(self.layers, radial.layers, strict=True):
            features = exchange(features) if outputs else features
            features = layer(features, inputs, species, of_layer)
            outputs.append(features)
        invariants = torch.cat([of_layer[:, 0] for of_layer in outputs], dim=1)
        envelope = self.basis.envelope(distances)[:, 0]
        return NodeFeatures(features, invariants, distances, envelope, self._vectors(outputs))

    def forward_once(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features that are differentiable once, in positions and cell alone."""
        species, rows = self.species_of_number[graph.atomic_numbers], self._rows_of_vectors()
        written = self._written_out if self.n_gradients == 1 else None
        found = None if written is None else written(graph, species, rows)
        if found is None:
            return self(graph)
        features, invariant, vectors, distances = found
        envelope = self.basis.envelope(distances)[:, 0]
        return NodeFeatures(features, invariant, distances, envelope, vectors if rows else None)

    def write_out(self) -> None:
        """Write the layers out where fused kernels serve and radial functions are splines."""
        self._written_out = None
        if not inplace.serves(self.embedding, self.layers[0].kernels) or not self.may_have_splines:
            return
        with torch.no_grad():
            first, splines = self.layers[0], self.tables()
            of_receivers = may_take_receivers(first, splines[0].radial if splines else None)
            maps = FirstMaps(first, self.embedding, of_receivers=of_receivers)
            tables = (
                OrderedPairSplines(self.splines_of_pairs, maps)
                if self.has_pairs
                else ElementSplines(splines, maps)
            )
            self._written_out = FrozenMace(self.embedding, list(self.layers), tables)

    def threads_for_prediction(self, graph: AtomGraph) -> contextlib.AbstractContextManager[None]:
        """Return a context for a prediction: see `SphericalBackbone`."""
        if self._written_out is not None:
            return threads.without_openmp()
        return super().threads_for_prediction(graph)

    def _rows_of_vectors(self) -> tuple[slice, ...]:
        """Return the 1o rows of each layer, where the last one has them."""
        if _VECTOR not in self.irreps_out:
            return ()
        return tuple(layer.irreps_out.slice_of(_VECTOR) for layer in self.layers)

    def _vectors(self, outputs: Sequence[Tensor]) -> Tensor | None:
        """Return the 1o rows of all layers, where the last one has them: (N, 3, layers * C)."""
        rows = self._rows_of_vectors()
        if not rows:
            return None
        return torch.cat([out[:, own] for out, own in zip(outputs, rows, strict=True)], dim=2)

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes convolutions and products: see `SphericalBackbone.use_kernels`."""
        check_kernels(kernels)
        self.kernels = kernels
        for layer in self.layers:
            layer.use_kernels("reference" if kernels == "auto" else kernels)

    def operations(self, n_edges: int) -> float:
        """Return the multiplications of one pass over so many edges: a term of a table each."""
        n_terms = sum(len(layer.table.value) for layer in self.layers)
        return float(n_edges * self.n_channels * n_terms)

    @property
    def n_terms(self) -> int:
        """Terms of the largest coupling table."""
        return max(len(layer.table.value) for layer in self.layers)

    def calibrate(self, graph: AtomGraph) -> None:
        """Set what messages are divided by to the mean neighbour count of `graph`."""
        mean = graph.edge_index.shape[1] / max(graph.n_atoms, 1)
        for layer in self.layers:
            layer.neighbor_count.fill_(max(mean, 1e-3))


def _check_choices(first_block: str, block: str, basis: str, transform: str) -> None:
    """Refuse words that are none of the choices."""
    check_choice("first_block", first_block, BLOCKS)
    check_choice("block", block, BLOCKS)
    check_choice("radial_basis", basis, BASES)
    check_choice("distance_transform", transform, TRANSFORMS)


def _hidden(text: str) -> Irreps:
    """Read the irreps between layers, 0e first and each once."""
    irreps = Irreps(text)
    if not irreps[0].is_scalar or len(set(irreps)) < len(irreps):
        raise UserError(f"model.hidden is {text}; it must begin with 0e and name each irrep once")
    return irreps
