"""MACE: two layers whose messages are multiplied with themselves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import edges_of
from molequi.kernels.species_rows import rows_of_species
from molequi.nn.backbones.base import (
    BackboneBase,
    Capabilities,
    NodeFeatures,
    check_choice,
    check_kernels,
    settings_of,
)
from molequi.nn.mace.interaction import (
    BLOCKS,
    EdgeInputs,
    LayerSizes,
    LayerSplines,
    MaceInteraction,
)
from molequi.nn.mace.knots import distances_of_knots, splines_through
from molequi.nn.mace.pair_splines import PairSplines, RadialFunctions, stacked
from molequi.nn.mace.radial import BASES, TRANSFORMS, EdgeBasis
from molequi.nn.module_list import ModuleListOf
from molequi.nn.weight_tables import WeightTables
from molequi.o3.irreps import Irrep, Irreps
from molequi.o3.spherical_harmonics import spherical_harmonics


class MaceBackbone(BackboneBase, WeightTables[list[LayerSplines]]):
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
        has_vectors = Irrep.parse("1o") in self.irreps_out
        return Capabilities(vectors=has_vectors, equivariant=True, fused_kernels=True)

    @property
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""
        return self.n_layers * self.n_channels

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        species, vectors = self.species_of_number[graph.atomic_numbers], edge_vectors(graph)
        # A zero vector gets length 1e-6 Å and a zero gradient instead of an undefined direction.
        lengths = vectors.square().sum(dim=1).clamp(min=1e-12).sqrt()
        distances = lengths.to(self.dtype)
        harmonics = spherical_harmonics((vectors / lengths[:, None]).to(self.dtype), self.l_max)
        radial = self._radial(distances, species, graph.edge_index)
        edges = edges_of(graph)._replace(kinds=radial.kinds)
        inputs = EdgeInputs(edges, harmonics, distances, radial.scalars)
        features, outputs = rows_of_species(species, self.embedding)[:, None, :], []
        for layer, of_layer in zip(self.layers, radial.layers, strict=True):
            features = layer(features, inputs, species, of_layer)
            outputs.append(features)
        invariants = torch.cat([of_layer[:, 0] for of_layer in outputs], dim=1)
        envelope = self.basis.envelope(distances)[:, 0]
        return NodeFeatures(features, invariants, distances, envelope, self._vectors(outputs))

    def _vectors(self, outputs: Sequence[Tensor]) -> Tensor | None:
        """Return the 1o rows of all layers, where the last one has them: (N, 3, layers * C)."""
        if not self.capabilities.vectors:
            return None
        rows = [layer.irreps_out.slice_of(Irrep.parse("1o")) for layer in self.layers]
        return torch.cat([out[:, own] for out, own in zip(outputs, rows, strict=True)], dim=2)

    @property
    def takes_splines(self) -> bool:
        """Whether the radial functions are splines through the networks at knots.

        They are in a frozen model and for fused kernels, which take nothing else. Where distances
        are transformed by the elements, `PairSplines` are in frozen models alone, whose weights do
        not change, on a CPU, and none for a structure of too many pairs. Otherwise the networks run
        on every edge.
        """
        is_wanted = self._frozen is not None
        if self.has_pairs:
            is_wanted &= self.device.type == "cpu"
        else:
            is_wanted |= self.kernels not in {"auto", "reference"}
        return self.may_have_splines and is_wanted

    @property
    def may_have_splines(self) -> bool:
        """Whether splines may stand for the radial networks, see `takes_splines`.

        Not where `radial_splines` says so, nor for Chebyshev polynomials of plain distances, which
        reach the cutoff's n-th power.
        """
        is_smooth = self.basis.transform == "agnesi" or self.basis.kind != "chebyshev"
        return is_smooth and bool(self.settings["radial_splines"])

    @property
    def has_pairs(self) -> bool:
        """Whether each pair of elements has radial functions of its own."""
        return self.basis.transform != "none"

    def make_tables(self) -> list[LayerSplines]:
        """Return the splines of each layer that serve all pairs of elements, where there are."""
        if self.has_pairs or not self.may_have_splines:
            return []
        knots = distances_of_knots(self.cutoff, self.device)
        return splines_through(self.layers, self.basis.of_lengths(knots), self.dtype)

    def _radial(self, distances: Tensor, species: Tensor, edge_index: Tensor) -> RadialFunctions:
        """Return the splines that the edges take, or what the networks see of them."""
        of_one, found = edge_index.new_empty(0), None
        if self.takes_splines and not self.has_pairs:
            return RadialFunctions(self.tables(), of_one)
        if self.takes_splines:
            found = self.pair_splines.find(species, edge_index, self._of_pairs)
        if found is not None:
            return found
        scalars = self.basis(distances, species, edge_index)
        return RadialFunctions([None] * self.n_layers, of_one, scalars)

    def _of_pairs(self, pairs: Tensor) -> list[LayerSplines]:
        """Return the splines of pairs of species (pairs, 2): (pairs, K + 3, paths, C)."""
        knots = distances_of_knots(self.cutoff, self.device)
        ends = torch.zeros(2, len(knots), dtype=torch.int64, device=self.device)
        ends[1] = 1
        with torch.no_grad():
            scalars = [self.basis(knots, pair, ends) for pair in pairs]
            return stacked([splines_through(self.layers, one, self.dtype) for one in scalars])

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
