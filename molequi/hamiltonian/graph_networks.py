"""Networks on a fixed set of interacting particles.

Fully connected, graph, and graph on distances alone.

B systems, N particles, d dimensions, c features. Every particle sees every other one: the systems
are small.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def perceptron(sizes: Sequence[int], *, ends_linear: bool = True) -> nn.Sequential:
    """Return linear layers of these sizes with Swish between them.

    And behind the last one unless `ends_linear`.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*(layers[:-1] if ends_linear else layers))


class FullyConnected(nn.Module):
    """A perceptron on all features of all particles at once.

    No symmetry, not even under exchange of particles.
    """

    def __init__(self, n_inputs: int, n_outputs: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.network = perceptron([n_inputs, *[width] * n_layers, n_outputs])

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, N, c) to (B, outputs)."""
        return self.network(features.flatten(1))


class GraphBlock(nn.Module):
    """A full graph-network block.

    Edges, then nodes, then the whole (Battaglia et al., arXiv:1806.01261, algorithm 1).

    e_ij' = f(h_j, h_i, e_ij, u); h_i' = f(h_i, sum_j e_ij', u); u' = f(u, sum e', sum h').
    n_inputs: sizes of h, e and u.
    """

    def __init__(self, n_inputs: tuple[int, int, int], width: int) -> None:
        super().__init__()
        n_node, n_edge, n_global = n_inputs
        self.edges = perceptron([2 * n_node + n_edge + n_global, width, width], ends_linear=False)
        self.nodes = perceptron([n_node + width + n_global, width, width], ends_linear=False)
        self.whole = perceptron([n_global + 2 * width, width, width], ends_linear=False)

    def forward(self, h: Tensor, e: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Update nodes h (B, N, .), edges e (B, N, N, .), and the whole u (B, .).

        An edge goes from j (third axis) to i (second).
        """
        n = h.shape[1]
        senders, receivers = h[:, None].expand(-1, n, -1, -1), h[:, :, None].expand(-1, -1, n, -1)
        e = self.edges(
            torch.cat((senders, receivers, e, u[:, None, None].expand(-1, n, n, -1)), dim=-1)
        )
        h = self.nodes(torch.cat((h, e.sum(2), u[:, None].expand(-1, n, -1)), dim=-1))
        u = self.whole(torch.cat((u, e.sum((1, 2)), h.sum(1)), dim=-1))
        return h, e, u


class ObjectGraph(nn.Module):
    """Graph-network blocks on constant edges.

    Symmetric under exchange of particles, not in space (OGN, HOGN).
    """

    def __init__(self, n_features: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            GraphBlock((n_features, 1, 1) if k == 0 else (width,) * 3, width)
            for k in range(n_layers)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map features (B, N, c) to nodes (B, N, width) and the whole (B, width)."""
        n_systems, n, _ = features.shape
        h, e, u = features, features.new_ones(n_systems, n, n, 1), features.new_ones(n_systems, 1)
        for block in self.blocks:
            h, e, u = block(h, e, u)
        return h, u


class InvariantGraph(nn.Module):
    """An energy invariant under motions, reflections and exchange of particles, in any dimension.

    m_ij = f(h_i, h_j, s_ij), h_i' = h_i + f(h_i, sum_j m_ij) as in Satorras et al.
    (arXiv:2102.09844, without its position updates); V = sum over i < j of (g(h_i, h_j, s_ij) +
    g(h_j, h_i, s_ij)). s_ij are functions of |q_i - q_j|: its square, and Gaussians up to `reach`.
    """

    def __init__(
        self,
        n_features: int,
        width: int,
        n_layers: int,
        *,
        reach: float = 4.0,
        n_gaussians: int = 16,
    ) -> None:
        super().__init__()
        self.centres: Tensor
        self.register_buffer("centres", torch.linspace(0.0, reach, n_gaussians))
        self.spacing = reach / (n_gaussians - 1)
        n_edge = 2 * width + 1 + n_gaussians
        self.embedding = nn.Linear(n_features, width)
        self.messages = nn.ModuleList(
            perceptron([n_edge, width, width], ends_linear=False) for _ in range(n_layers)
        )
        self.updates = nn.ModuleList(perceptron([2 * width, width, width]) for _ in range(n_layers))
        self.pair_energy = perceptron([n_edge, width, width, 1])

    def forward(self, positions: Tensor, features: Tensor) -> Tensor:
        """Map positions (B, N, d) and invariant features (B, N, c) to energies (B,)."""
        n = positions.shape[1]
        i, j = (~torch.eye(n, dtype=torch.bool, device=positions.device)).nonzero(as_tuple=True)
        square = (positions[:, i] - positions[:, j]).square().sum(-1, keepdim=True)
        # The root has no derivative at 0; coinciding particles meet a distance of 1e-6.
        distance = (square + 1e-12).sqrt()
        scalars = torch.cat(
            (square, torch.exp(-0.5 * ((distance - self.centres) / self.spacing).square())), dim=-1
        )
        h = self.embedding(features)
        for message, update in zip(self.messages, self.updates, strict=True):
            m = message(torch.cat((h[:, i], h[:, j], scalars), dim=-1))
            h = h + update(torch.cat((h, torch.zeros_like(h).index_add(1, i, m)), dim=-1))
        return self.pair_energy(torch.cat((h[:, i], h[:, j], scalars), dim=-1)).sum((1, 2))
