"""A backbone on numbers that no rotation changes: distances, angles and dihedrals. The comparison for features that turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.errors import UserError
from molequi.graph import AtomGraph, edge_vectors
from molequi.nn.backbone import NodeFeatures
from molequi.nn.linear import Perceptron, gate
from molequi.nn.plain import PlainBackbone
from molequi.nn.radial import bessel_basis, envelope
from molequi.nn.tuples import Angles, Dihedrals, find_angles, find_dihedrals
from molequi.symmetry.irreps import Irreps


class Geometry(NamedTuple):
    """The invariants of a graph in the model's dtype; `near` are the places of the edges shorter than the near cutoff.

    basis, near_basis: radial functions (E, n_radial) and (near edges, n_radial); envelope, near_envelope: (E, 1) and (near edges, 1), which carry all
    messages smoothly to zero at the cutoffs. tuples: angles, proper and improper dihedrals.
    """

    edge_index: Tensor
    basis: Tensor
    envelope: Tensor
    near: Tensor
    near_basis: Tensor
    near_envelope: Tensor
    tuples: tuple[Angles, Dihedrals, Dihedrals]


class InvariantBackbone(PlainBackbone):
    """Message passing on distances (within `cutoff`), angles and dihedrals (of edges within `near_cutoff`, Å).

    h_i <- h_i + net(h_i, sum_j R(r_ij) h_j, sum_jk F(cos) a_ij a_ik, sum_abc F(cos, cos, cos) a b c, o_i^2), where a_ij = R'(r_ij) h_j and a, b, c
    are those of the three edges of a dihedral; proper and improper ones have sums of their own.
    parity: `natural` (unsigned dihedrals: h alone, 0e) or `full` (signed ones: also o, 0o, made of sin(dihedral) F(cos, cos, cos) a b c and
    o_i <- (o_i + sum_j R(r_ij) o_j + ...) gate(h_i), so that a mirror turns o into -o exactly).
    A sum of such numbers is no vector: there are no dipoles.
    Networks on distances, angles and dihedrals: Gasteiger, Becker, Guennemann, GemNet, NeurIPS 2021; this one is our own and smaller.
    """

    kind = "invariants"
    advice = "a network on invariants has scalars only: use parity=full (signed dihedrals) for 0o, and model.kind=tensors for vectors and tensors"

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
        settings = {
            "cutoff": float(cutoff), "n_layers": n_layers, "n_channels": n_channels, "parity": parity, "near_cutoff": float(near_cutoff),
            "n_radial": n_radial, "n_hidden": n_hidden,
        }  # fmt: skip
        super().__init__(elements, n_channels, n_layers, settings)
        if parity not in {"natural", "full"}:
            raise UserError(f"model.parity is {parity!r}; it must be 'natural' (unsigned dihedrals) or 'full' (signed ones)")
        if near_cutoff > cutoff:
            raise UserError(f"model.near_cutoff is {near_cutoff} Å, beyond model.cutoff, {cutoff} Å; choose at most that, 2.5 is usual")
        self.near_cutoff, self.n_radial = float(near_cutoff), n_radial
        self.irreps_out = ((0, 1),) if parity == "natural" else ((0, 1), (0, -1))
        is_signed = parity == "full"
        self.layers = nn.ModuleList(InvariantLayer(n_channels, n_radial, n_hidden, is_signed=is_signed) for _ in range(n_layers))

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        geometry, distances = self._geometry(graph)
        even = self._start(graph)
        odd, invariants = torch.zeros_like(even), []
        for layer in self.layers:
            even, odd = layer(even, odd, geometry)
            invariants.append(even)
        rows = torch.stack([even, odd][: len(self.irreps_out)], dim=1)
        return NodeFeatures(rows, torch.cat(invariants, dim=1), distances, envelope(distances, self.cutoff))

    def calibrate(self, graph: AtomGraph) -> None:
        """Set the constants that give the messages of each layer unit mean square on `graph`, the first training graphs."""
        with torch.no_grad():
            (geometry, _), even = self._geometry(graph), self._start(graph)
            odd = torch.zeros_like(even)
            for layer in self.layers:
                layer.calibrate(even, odd, geometry)
                even, odd = layer(even, odd, geometry)

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
        tuples = (angles, *find_dihedrals(units, edge_index, graph.shifts[near], graph.n_atoms))
        cast = tuple(type(item)(*(x.to(dtype) if x.is_floating_point() else x for x in item)) for item in tuples)
        far, close = (self._radial(r, cutoff) for r, cutoff in ((distances, self.cutoff), (short, self.near_cutoff)))
        return Geometry(graph.edge_index, *far, near, *close, cast), distances.to(dtype)

    def _radial(self, distances: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
        basis, u = bessel_basis(distances, cutoff, self.n_radial), envelope(distances, cutoff)[:, None]
        return basis.to(self.embedding.dtype), u.to(self.embedding.dtype)


class InvariantLayer(nn.Module):
    """One layer of `InvariantBackbone`: even features (N, C) and, with signed dihedrals, odd ones (N, C)."""

    def __init__(self, n_channels: int, n_radial: int, n_hidden: int, *, is_signed: bool) -> None:
        super().__init__()
        self.n_channels, self.is_signed = n_channels, is_signed
        self.radial = Perceptron((n_radial, n_hidden, n_channels), last_bias=True)
        # Between 0 and 1: products of three steep functions would make steeper, badly rounded energies.
        self.near_gate = Perceptron((n_radial, n_hidden, n_channels), last_bias=True)
        self.angular = nn.ModuleList(Perceptron((size, n_hidden, n_channels), last_bias=True) for size in (1, 3, 3))
        self.mix = Perceptron((n_channels, 2 * n_channels))
        self.update = Perceptron(((6 if is_signed else 5) * n_channels, 2 * n_channels, n_channels))
        self.register_buffer("size", torch.ones(4))
        if is_signed:
            self.handed = nn.ModuleList(Perceptron((3, n_hidden, n_channels), last_bias=True) for _ in range(2))
            self.odd_mix = Perceptron((n_channels, n_channels))
            self.odd_gate = Perceptron((n_channels, n_hidden, n_channels), last_bias=True)
            self.register_buffer("odd_size", torch.ones(3))

    def forward(self, even: Tensor, odd: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Return the new features; with unsigned dihedrals `odd` stays as it is."""
        far, near = self.radial(geometry.basis) * geometry.envelope, self._near(even, geometry)
        parts = [even, *(x / size for x, size in zip(self._even_messages(even, far, near, geometry), self.size, strict=True))]
        if self.is_signed:
            messages = [x / size for x, size in zip(self._odd_messages(odd, far, near, geometry), self.odd_size, strict=True)]
            odd = (odd + sum(messages)) * (0.5 * gate(self.odd_gate(even)))
            parts.append(odd.square())
        return (even + self.update(torch.cat(parts, dim=1))) * 0.5**0.5, odd

    def calibrate(self, even: Tensor, odd: Tensor, geometry: Geometry) -> None:
        """Set the sizes of the messages to their root mean square; 1 where there are none."""
        far, near = self.radial(geometry.basis) * geometry.envelope, self._near(even, geometry)
        self.size.copy_(torch.stack([_size(x) for x in self._even_messages(even, far, near, geometry)]))
        if self.is_signed:
            self.odd_size.copy_(torch.stack([_size(x) for x in self._odd_messages(odd, far, near, geometry)]))

    def _near(self, even: Tensor, geometry: Geometry) -> Tensor:
        """What the near edges bring to angles and dihedrals: (near edges, C)."""
        senders = self.mix(even)[:, self.n_channels :].index_select(0, geometry.edge_index[0, geometry.near])
        return gate(self.near_gate(geometry.near_basis)) * geometry.near_envelope * senders

    def _even_messages(self, even: Tensor, far: Tensor, near: Tensor, geometry: Geometry) -> list[Tensor]:
        """Sums over distances, angles, proper and improper dihedrals at each atom: four (N, C)."""
        sums = [_convolve(far, self.mix(even)[:, : self.n_channels], geometry)]
        for network, item in zip(self.angular, geometry.tuples, strict=True):
            sums.append(_gather(network(item.cosines) * _product(near, item.edges), item.centre, even))
        return sums

    def _odd_messages(self, odd: Tensor, far: Tensor, near: Tensor, geometry: Geometry) -> list[Tensor]:
        """Sums over neighbours, proper and improper signed dihedrals at each atom: three (N, C) that a mirror turns into their negatives."""
        sums = [_convolve(far, self.odd_mix(odd), geometry)]
        for network, item in zip(self.handed, geometry.tuples[1:], strict=True):
            sums.append(_gather(item.sine[:, None] * network(item.cosines) * _product(near, item.edges), item.centre, odd))
        return sums


def _convolve(radial: Tensor, values: Tensor, geometry: Geometry) -> Tensor:
    sender, receiver = geometry.edge_index
    return _gather(radial * values.index_select(0, sender), receiver, values)


def _gather(messages: Tensor, centre: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_add(0, centre, messages)


def _product(near: Tensor, edges: Tensor) -> Tensor:
    """Multiply what the edges of each tuple bring: (T, C)."""
    product = near.index_select(0, edges[:, 0])
    for place in edges.T[1:]:
        product = product * near.index_select(0, place)
    return product


def _size(messages: Tensor) -> Tensor:
    size = messages.square().mean().sqrt()
    return torch.where(size > 0, size, torch.ones_like(size))
