"""A message-passing network on raw coordinates, and its equivarification by a point group.

The network itself has no symmetry under rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.groups.equivarify import Lift, turn_positions
from molequi.groups.finite import FiniteGroup
from molequi.nn.backbones.base import BackboneBase, Capabilities, NodeFeatures
from molequi.nn.linear import Perceptron, silu
from molequi.nn.module_list import ModuleListOf
from molequi.nn.radial import bessel_basis, envelope
from molequi.o3.irreps import Irreps


class CoordinateNetwork(nn.Module):
    """Message passing on edge vectors as they are, without symmetry.

    h_i' = (h_i + net(n^(-1/2) sum_j u(r_ij) silu(A h_j + B h_i + D b(r_ij) (1, x/r, y/r, z/r)))) /
    sqrt(2), b Bessel functions. Every component of an edge vector is an input of its own, so that
    turning a molecule changes everything. n is a constant of each layer, see
    `EquivarifiedBackbone.calibrate`.
    """

    neighbor_count: Tensor

    def __init__(
        self, n_elements: int, cutoff: float, n_channels: int, n_layers: int, *, n_radial: int = 8
    ) -> None:
        super().__init__()
        self.cutoff, self.n_channels, self.n_radial = cutoff, n_channels, n_radial
        self.embedding = nn.Parameter(torch.randn(n_elements, n_channels))
        self.sides = ModuleListOf(
            Perceptron((n_channels, 2 * n_channels), last_bias=True) for _ in range(n_layers)
        )
        self.geometry = ModuleListOf(
            Perceptron((4 * n_radial, n_channels)) for _ in range(n_layers)
        )
        self.updates = ModuleListOf(
            Perceptron((n_channels, n_channels, n_channels), last_bias=True)
            for _ in range(n_layers)
        )
        self.register_buffer("neighbor_count", torch.full((n_layers,), 12.0))
        self.last = Perceptron((n_channels, n_channels, 4 * n_channels))

    def forward(self, vectors: Tensor, species: Tensor, edge_index: Tensor) -> Tensor:
        """Return four numbers per atom and channel, a scalar and a vector by intention only.

        (..., E, 3) -> (..., N, 4, C).

        vectors: Å, the model's dtype. species: (N,). edge_index: (2, E).
        """
        senders, receivers = edge_index
        distances = (vectors.square().sum(dim=-1) + 1e-12).sqrt()
        shape = distances.shape
        basis = bessel_basis(distances.flatten(), self.cutoff, self.n_radial).unflatten(0, shape)
        directions = functional.pad(vectors / distances[..., None], (1, 0), value=1.0)
        inputs, u = (
            (basis[..., None, :] * directions[..., :, None]).flatten(-2),
            envelope(distances, self.cutoff)[..., None],
        )
        h = self.embedding[species].expand(*shape[:-1], -1, -1)
        for side, geometry, update, count in zip(
            self.sides, self.geometry, self.updates, self.neighbor_count, strict=True
        ):
            a, b = _linear(side, h).split(self.n_channels, dim=-1)
            messages = u * silu(
                a.index_select(-2, senders)
                + b.index_select(-2, receivers)
                + _linear(geometry, inputs)
            )
            total = torch.zeros_like(h).index_add(-2, receivers, messages) * count.rsqrt()
            h = (h + _linear(update, total)) * 2**-0.5
        return _linear(self.last, h).unflatten(-1, (4, self.n_channels))


class EquivarifiedBackbone(BackboneBase):
    """A coordinate network lifted over a point group, and read out.

    A backbone for `MolecularModel` that is exact under the group and no further.

    With copies s(g) = F(g^-1 x), scalars are the mean of s(g) and vectors the mean of g s(g): the
    intertwiners from the regular representation to the trivial one, and from regular x vector to
    vector. The group C1 leaves the network as it is.
    elements: atomic numbers. cutoff: Å.
    """

    # Made by hand, no config names it.
    architecture, advice = "equivarified", "it has scalars and vectors only"

    def __init__(
        self,
        elements: Sequence[int],
        group: FiniteGroup,
        cutoff: float = 5.0,
        *,
        n_channels: int = 32,
        n_layers: int = 2,
    ) -> None:
        super().__init__(
            elements,
            {
                "group": group.name,
                "cutoff": float(cutoff),
                "n_channels": n_channels,
                "n_layers": n_layers,
            },
        )
        self.n_channels, self.irreps_out = n_channels, Irreps("0e+1o")
        self.lift = Lift(
            CoordinateNetwork(len(self.elements), self.cutoff, n_channels, n_layers),
            group,
            turn_positions,
            at_once=True,
        )

    @property
    def capabilities(self) -> Capabilities:
        """Vectors, exact under the point group alone."""
        return Capabilities(vectors=True)

    @property
    def n_invariants(self) -> int:
        """Number of invariant features per atom."""
        return self.n_channels

    def forward(self, graph: AtomGraph) -> NodeFeatures:
        """Compute node features; differentiable in positions and cell."""
        vectors = edge_vectors(graph).to(self.dtype)
        copies = self.lift(vectors, self.species_of_number[graph.atomic_numbers], graph.edge_index)
        scalars = copies[:, :, 0].mean(dim=0)
        matrices = torch.as_tensor(
            self.lift.group.matrices, dtype=vectors.dtype, device=vectors.device
        )
        turned = torch.einsum("gxy,gnyc->nxc", matrices, copies[:, :, 1:]) / len(copies)
        distances = (vectors.square().sum(dim=-1) + 1e-12).sqrt()
        return NodeFeatures(
            torch.cat([scalars[:, None], turned], dim=1),
            scalars,
            distances,
            envelope(distances, self.cutoff),
        )

    def calibrate(self, graph: AtomGraph) -> None:
        """Set n of each layer so that its messages have unit mean square on `graph`."""
        # A lift takes any network.
        network, inputs = cast(CoordinateNetwork, self.lift.network), []
        with torch.no_grad():
            for layer, update in enumerate(network.updates):
                hook = update.register_forward_pre_hook(
                    lambda _module, arguments: inputs.append(arguments[0])
                )
                self(graph)
                hook.remove()
                network.neighbor_count[layer] *= inputs.pop().square().mean().clamp(min=1e-6)


def _linear(network: Perceptron, x: Tensor) -> Tensor:
    """Apply a network of rows to (..., C)."""
    return network(x.flatten(0, -2)).unflatten(0, x.shape[:-1])
