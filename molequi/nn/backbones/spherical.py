"""The backbone: from a graph to node features of exact symmetry."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels import KERNELS, edges_of, inplace, threads
from molequi.nn.backbones.base import NodeFeatures, species_table
from molequi.nn.frozen.autograd import FrozenPass
from molequi.nn.frozen.layers import FrozenLayers
from molequi.nn.interaction import Interaction, reachable
from molequi.nn.product import ManyBodyProduct
from molequi.nn.radial import envelope
from molequi.nn.weight_cache import derived, is_differentiated_once
from molequi.o3.irreps import Irreps, full_irreps, natural_irreps
from molequi.o3.spherical_harmonics import spherical_harmonics

logger = logging.getLogger(__name__)

# Multiplications of all passes together after which `auto` kernels are compiled: about as long as
# compiling takes. Counted, not timed, so that the same calls always give the same numbers.
GENERIC_AFTER, SPECIALIZED_AFTER = 2e9, 3e10


class Backbone(nn.Module):
    """Message passing over an AtomGraph.

    elements: the atomic numbers it knows. cutoff: Å. parity: `natural` (0e 1o 2e ...) or `full`
    (both parities of each l).
    correlation: 1, or 2 or 3 for products of up to that many messages. l_hidden: largest l of the
    features between layers, l_max by default. mixing: `merged` or `separate` paths, see
    `Interaction`. n_hidden: width of the radial networks. self_connection: `factors` or `matrices`
    by species, see `SelfConnection`. irreps_out: of the last layer; all hidden ones by default.
    Raises UserError for settings that make no network.
    """

    kind, has_fused_kernels = "tensors", True
    has_vectors, is_open_only, no_forces_reason = True, False, None
    has_turning_features = True
    # What to change where an output needs other irreps than the network has.
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
        l_hidden: int | None = None,
        mixing: str = "merged",
        self_connection: str = "factors",
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__()
        _check_settings(
            elements, cutoff, n_layers, n_channels, l_max, parity, correlation, n_radial
        )
        _check_choice("mixing", mixing, ("merged", "separate"))
        _check_choice("self_connection", self_connection, ("factors", "matrices"))
        if l_hidden is not None and not 0 <= l_hidden <= l_max:
            raise UserError(
                f"model.l_hidden is {l_hidden}; it must lie between 0 and l_max, {l_max}"
            )
        self.elements, self.cutoff, self.l_max, self.n_channels, self.n_layers = (
            tuple(elements),
            float(cutoff),
            l_max,
            n_channels,
            n_layers,
        )
        self.settings = {
            "cutoff": float(cutoff),
            "n_layers": n_layers,
            "n_channels": n_channels,
            "l_max": l_max,
            "parity": parity,
            "correlation": correlation,
            "n_radial": n_radial,
            "n_hidden": n_hidden,
            "l_hidden": l_hidden,
            "mixing": mixing,
            "self_connection": self_connection,
        }
        l_between = l_max if l_hidden is None else l_hidden
        hidden = natural_irreps(l_between) if parity == "natural" else full_irreps(l_between)
        wanted = (
            hidden
            if irreps_out is None
            else tuple(irrep for irrep in hidden if irrep in {(0, 1), *irreps_out})
        )
        self.embedding = nn.Parameter(torch.randn(len(elements), n_channels))
        self.layers = nn.ModuleList()
        irreps: Irreps = ((0, 1),)
        for layer in range(n_layers):
            target = wanted if layer == n_layers - 1 else hidden
            target = _reach(
                irreps,
                target,
                natural_irreps(l_max) if parity == "natural" else full_irreps(l_max),
                l_max,
                correlation,
            )
            sizes = (n_channels, len(elements), (cutoff, n_radial, n_hidden), l_max)
            self.layers.append(
                Interaction(
                    irreps,
                    target,
                    *sizes,
                    correlation=correlation,
                    mixing=mixing,
                    self_connection=self_connection,
                )
            )
            irreps = target
        self.irreps_out = irreps
        self.use_kernels("auto")
        self.register_buffer("species_of_number", species_table(self.elements), persistent=False)

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

    def calibrate(self, graph: AtomGraph) -> None:
        """Set n of each layer to the count that gives its messages unit mean square on `graph`, the first training graphs.

        Neighbours of one element send nearly the same message, so the mean neighbour count alone
        would understate n.
        """
        with torch.no_grad():
            species, edges = self.species_of_number[graph.atomic_numbers], edges_of(graph)
            harmonics, distances = self._geometry(edge_vectors(graph))
            features = functional.embedding(species, self.embedding)[:, None, :]
            for layer in self.layers:
                layer.calibrate(features, harmonics, distances, edges, species)
                features = layer(features, harmonics, distances, edges, species)

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes the convolutions.

        `reference`: plain torch. `generic`: fused kernels, compiled once per dtype and machine.
        `specialized`: compiled for a network, faster for forces. `auto`: plain torch first, so that
        small jobs start at once, then one after the other as more has been computed than compiling
        costs. `triton`: fused kernels on a GPU, by name only until they have run on one; the other
        fused forms are for the CPU.
        """
        if kernels not in {"auto", *KERNELS}:
            raise UserError(f"kernels is {kernels!r}; choose one of auto, {', '.join(KERNELS)}")
        self.kernels, self._work = kernels, 0
        self._set_kernels("reference" if kernels == "auto" else kernels)

    def count_pass(self, n_edges: int) -> None:
        """Count a pass over so many edges.

        With `auto` kernels the work done so far decides what is worth compiling.
        """
        if self.kernels != "auto" or self.embedding.device.type != "cpu":
            return
        self._work += (
            n_edges * self.n_channels * sum(len(layer.table.value) for layer in self.layers)
        )
        wanted = (
            "specialized"
            if self._work > SPECIALIZED_AFTER
            else "generic"
            if self._work > GENERIC_AFTER
            else "reference"
        )
        if wanted != self.layers[0].kernels:
            logger.info(
                "a long job: its convolutions are compiled now (%s), once on this machine", wanted
            )
            self._set_kernels(wanted)

    def threads_for_prediction(self) -> contextlib.AbstractContextManager[None]:
        """Return a context for a prediction.

        Where there are kernels, OpenMP's threads would be in their way.
        """
        serves = inplace.serves(self.embedding, self.layers[0].kernels)
        return threads.without_openmp() if serves else contextlib.nullcontext()

    def _set_kernels(self, kernels: str) -> None:
        for module in self.modules():
            if isinstance(module, Interaction | ManyBodyProduct):
                module.kernels = kernels

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        species, edges, vectors = (
            self.species_of_number[graph.atomic_numbers],
            edges_of(graph),
            edge_vectors(graph),
        )
        if is_differentiated_once() and inplace.serves(self.embedding, self.layers[0].kernels):
            layers = derived(self, lambda: FrozenLayers(self.embedding, self.layers))
            features, invariant, distances = FrozenPass.apply(
                vectors, self._geometry, layers, edges, species
            )
        else:
            harmonics, distances = self._geometry(vectors)
            features, invariants = functional.embedding(species, self.embedding)[:, None, :], []
            for layer in self.layers:
                features = layer(features, harmonics, distances, edges, species)
                invariants.append(features[:, 0])
            invariant = torch.cat(invariants, dim=1)
        return NodeFeatures(features, invariant, distances, envelope(distances, self.cutoff))

    def _geometry(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Harmonics (E, (l_max + 1)^2) and distances (E,) in the model's dtype, of edge vectors in float64."""
        # A zero vector gets length 1e-6 Å and a zero gradient instead of an undefined direction.
        distances = vectors.square().sum(dim=1).clamp(min=1e-12).sqrt()
        dtype = self.embedding.dtype
        return spherical_harmonics(
            (vectors / distances[:, None]).to(dtype), self.l_max
        ), distances.to(dtype)


def _reach(irreps: Irreps, target: Irreps, hidden: Irreps, l_max: int, correlation: int) -> Irreps:
    """Return the irreps of `target` that one layer can fill."""
    edge = natural_irreps(l_max)
    messages = reachable(irreps, edge, target)
    if correlation == 1:
        return messages
    once = reachable(irreps, edge, hidden)
    twice = tuple(sorted({*once, *reachable(once, once, hidden)}))
    many = {*once, *reachable(twice if correlation == 3 else once, once, hidden)}
    return tuple(irrep for irrep in target if irrep in many)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UserError(f"model.{name} is {value!r}; it must be {' or '.join(map(repr, choices))}")


def _check_settings(
    elements: Sequence[int],
    cutoff: float,
    n_layers: int,
    n_channels: int,
    l_max: int,
    parity: str,
    correlation: int,
    n_radial: int,
) -> None:
    if (
        not elements
        or len(set(elements)) != len(elements)
        or not all(1 <= z <= 118 for z in elements)
    ):
        raise UserError(
            f"elements must be different atomic numbers from 1 to 118, got {list(elements)}"
        )
    if not cutoff > 0:
        raise UserError(f"model.cutoff is {cutoff} Å; it must be positive, 5 is usual")
    limits = {
        "n_layers": (n_layers, 1, 16),
        "n_channels": (n_channels, 1, 4096),
        "l_max": (l_max, 0, 6),
        "correlation": (correlation, 1, 3),
        "n_radial": (n_radial, 1, 64),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise UserError(f"model.{name} is {value}; it must lie between {low} and {high}")
    if parity not in {"natural", "full"}:
        raise UserError(
            f"model.parity is {parity!r}; it must be 'natural' (0e 1o 2e ...) or 'full' (both "
            "parities)"
        )
