"""MACE: two layers whose messages are multiplied with themselves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import edges_of, splines
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
from molequi.nn.mace.radial import BASES, TRANSFORMS, EdgeBasis, EdgeScalars
from molequi.nn.module_list import ModuleListOf
from molequi.nn.weight_tables import WeightTables
from molequi.o3.irreps import Irrep, Irreps
from molequi.o3.spherical_harmonics import spherical_harmonics

# Knot intervals per Å: forces of random networks then differ from those of the networks on every
# edge by less than 1.5e-6 of the largest (64 per Å: 1.5e-5), of shapes such as MACE-OFF23's.
KNOTS_PER_ANGSTROM = 128
# A length instead of zero, Å, at which the radial functions are not defined.
_NEARLY_ZERO = 1e-6


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
        tables = self.tables() if self.takes_splines else [None] * self.n_layers
        scalars = None if self.takes_splines else self.basis(distances, species, graph.edge_index)
        inputs = EdgeInputs(edges_of(graph), harmonics, distances, scalars)
        features, invariants = rows_of_species(species, self.embedding)[:, None, :], []
        for layer, of_layer in zip(self.layers, tables, strict=True):
            features = layer(features, inputs, species, of_layer)
            invariants.append(features[:, 0])
        envelope = self.basis.envelope(distances)[:, 0]
        return NodeFeatures(features, torch.cat(invariants, dim=1), distances, envelope)

    @property
    def takes_splines(self) -> bool:
        """Whether the radial functions are splines through the networks at knots.

        They are in a frozen model and for fused kernels, which take nothing else; not where
        `radial_splines` says so, nor where distances are transformed by the elements, which would
        need splines of every pair of elements, nor for Chebyshev polynomials of plain distances,
        which reach the cutoff's n-th power. Otherwise the networks run on every edge.
        """
        is_wanted = self._frozen is not None or self.kernels not in {"auto", "reference"}
        return self.may_have_splines and is_wanted

    @property
    def may_have_splines(self) -> bool:
        """Whether splines may stand for the radial networks, see `takes_splines`."""
        is_smooth = self.basis.transform == "none" and self.basis.kind != "chebyshev"
        return is_smooth and bool(self.settings["radial_splines"])

    def make_tables(self) -> list[LayerSplines]:
        """Return the splines of each layer; none where there must be none."""
        if not self.may_have_splines:
            return []
        # In float64 up to the functions, so that a model in float32 and its copy in float64 share
        # their knots. A spline is even: its values at the knot before zero are those after it.
        n_intervals = math.ceil(KNOTS_PER_ANGSTROM * self.cutoff)
        knots = splines.knots(n_intervals, self.cutoff, self.device).abs().clamp(min=_NEARLY_ZERO)
        scalars = EdgeScalars(*(x.to(self.dtype) for x in self.basis.of_lengths(knots)))
        return [layer.splines(scalars) for layer in self.layers]

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
