"""A backbone on numbers that no rotation changes: distances, angles and dihedrals.

The comparison for features that turn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.nn.backbones.angles import find_angles, find_dihedrals
from molequi.nn.backbones.base import BackboneBase, Capabilities, NodeFeatures, settings_of
from molequi.nn.backbones.invariant_layer import SHAKE, Geometry, InvariantLayer
from molequi.nn.module_list import ModuleListOf
from molequi.nn.radial import bessel_basis, envelope
from molequi.o3.irreps import Irreps


class InvariantBackbone(BackboneBase):
    """Message passing on distances, angles and dihedrals.

    Distances are those within `cutoff`, angles and dihedrals of edges within `near_cutoff`, Å.
    h_i <- (h_i + net(h_i, sum_j R(r_ij) h_j, sum_jk F(cos) a_ij b_ik, sum_abc F(cos, cos, cos) a c
    b, o_i tanh o_i)) / sqrt 2, where the weights a, c, b of the first edge of a tuple, of its axis
    and of the last are gates g(r_ij, h_j) between 0 and 1. Proper and improper dihedrals have sums
    of their own, and every sum is divided by a constant, see `calibrate`.
    parity: `natural` (unsigned dihedrals: h alone, 0e) or `full` (signed ones: also o, 0o, made of
    sin(dihedral) F(cos, cos, cos) a c b and o_i <- (o_i + sum_j R(r_ij) o_j + ...) gate(h_i), so
    that a mirror turns o into -o exactly). A sum of such numbers is no vector: there are no
    dipoles. Networks on distances, angles and dihedrals: Gasteiger, Becker, Guennemann, GemNet,
    NeurIPS 2021; this one is our own and smaller.
    """

    architecture = "invariants"
    advice = (
        "a network on invariants has scalars only: use parity=full (signed dihedrals) for 0o, and "
        "model.architecture=spherical for vectors and tensors"
    )

    def __init__(
        self,
        elements: Sequence[int],
        cutoff: float = 5.0,
        *,
        n_layers: int = 2,
        n_channels: int = 32,
        parity: str = "natural",
        near_cutoff: float = 2.5,
        n_radial: int = 8,
        n_hidden: int = 32,
        irreps_out: Irreps | None = None,
    ) -> None:
        super().__init__(elements, settings_of(locals()))
        if parity not in {"natural", "full"}:
            raise UserError(
                f"model.parity is {parity!r}; it must be 'natural' (unsigned dihedrals) or 'full' "
                "(signed ones)"
            )
        if near_cutoff > cutoff:
            raise UserError(
                f"model.near_cutoff is {near_cutoff} Å, beyond model.cutoff, {cutoff} Å; choose at "
                "most that, 2.5 is usual"
            )
        self.n_layers, self.n_channels = n_layers, n_channels
        self.near_cutoff, self.n_radial = float(near_cutoff), n_radial
        self.irreps_out = Irreps("0e" if parity == "natural" else "0e+0o")
        self.embedding = nn.Parameter(torch.randn(len(elements), n_channels))
        is_signed = parity == "full"
        self.layers = ModuleListOf(
            InvariantLayer(n_channels, n_radial, n_hidden, is_signed=is_signed)
            for _ in range(n_layers)
        )

    @property
    def capabilities(self) -> Capabilities:
        """Its scalars are exact under rotations and mirrors."""
        return Capabilities(equivariant=True)

    @property
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""
        return self.n_layers * self.n_channels

    @property
    def inner_cutoffs(self) -> tuple[float, ...]:
        """The cutoff of angles and dihedrals, Å."""
        return (self.near_cutoff,)

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        geometry, distances = self._geometry(graph)
        even = self._start(graph)
        odd, invariants = torch.zeros_like(even), []
        for layer in self.layers:
            even, odd = layer(even, odd, geometry)
            invariants.append(even)
        rows = torch.stack([even, odd][: len(self.irreps_out)], dim=1)
        return NodeFeatures(
            rows, torch.cat(invariants, dim=1), distances, envelope(distances, self.cutoff)
        )

    def calibrate(self, graph: AtomGraph) -> None:
        """Set the constants that messages are divided by in each layer: see `_size`."""
        noise = torch.randn(
            graph.positions.shape,
            generator=torch.Generator().manual_seed(0),
            dtype=graph.positions.dtype,
        )
        shaken = graph._replace(
            positions=graph.positions + SHAKE * noise.to(graph.positions.device)
        )
        with torch.no_grad():
            geometries = [self._geometry(each)[0] for each in (graph, shaken)]
            features = [(even, torch.zeros_like(even)) for even in [self._start(graph)] * 2]
            for layer in self.layers:
                layer.calibrate(
                    *(
                        [*layer.messages(*each, geometry)]
                        for each, geometry in zip(features, geometries, strict=True)
                    )
                )
                features = [
                    layer(*each, geometry)
                    for each, geometry in zip(features, geometries, strict=True)
                ]

    def _start(self, graph: AtomGraph) -> Tensor:
        return functional.embedding(self.species_of_number[graph.atomic_numbers], self.embedding)

    def _geometry(self, graph: AtomGraph) -> tuple[Geometry, Tensor]:
        """The invariants and the distances (E,); formed in float64, then cast."""
        dtype, vectors = self.embedding.dtype, edge_vectors(graph)
        distances = vectors.square().sum(dim=1).clamp(min=1e-12).sqrt()
        near = torch.nonzero(distances.detach() < self.near_cutoff)[:, 0]
        short = distances.index_select(0, near)
        units = vectors.index_select(0, near) / short[:, None]
        edge_index = graph.edge_index[:, near]
        angles = find_angles(units, edge_index[1], graph.n_atoms)
        proper, improper = find_dihedrals(units, edge_index, graph.shifts[near], graph.n_atoms)
        basis = bessel_basis(distances, self.cutoff, self.n_radial).to(dtype)
        far, close = (
            envelope(r, cutoff)[:, None].to(dtype)
            for r, cutoff in ((distances, self.cutoff), (short, self.near_cutoff))
        )
        geometry = Geometry(
            graph.edge_index,
            basis,
            far,
            near,
            close,
            angles.to(dtype),
            (proper.to(dtype), improper.to(dtype)),
        )
        return geometry, distances.to(dtype)
