"""Convolutions of Finzi et al. (ICML 2020) on particles in the plane, each lifted to one group element.

A group enters as one function, `positions (B, N, 2), angles (B, N) -> (B, N, N, k)`: for receiver i and neighbour j the coordinates log(v_j^-1 u_i),
and, where the group does not reach every point from one, the orbits of both. Nothing else here knows the group.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from molequi.nn.particles import perceptron

PairCoordinates = Callable[[Tensor, Tensor], Tensor]

# Outputs of the kernel's inner network that the weights W combine: k(a) = W s(a).
_N_INNER = 16


def pairs_trivial(positions: Tensor, _angles: Tensor) -> Tensor:
    """Return both positions: the trivial group moves nothing, every point is an orbit of its own. k = 4."""
    n = positions.shape[1]
    return torch.cat((positions[:, :, None].expand(-1, -1, n, -1), positions[:, None].expand(-1, n, -1, -1)), dim=-1)


def pairs_translation(positions: Tensor, _angles: Tensor) -> Tensor:
    """Return x_i - x_j, the logarithm in T(2). k = 2."""
    return positions[:, :, None] - positions[:, None]


def pairs_rotation(positions: Tensor, _angles: Tensor) -> Tensor:
    """Return the angle from x_j to x_i, the logarithm in SO(2), and the radii of both. k = 3.

    The logarithm jumps by a turn where x_i and x_j are opposite, and is undefined at the origin.
    """
    n = positions.shape[1]
    x, y = positions[:, :, None], positions[:, None]
    turn = torch.atan2(x[..., 1] * y[..., 0] - x[..., 0] * y[..., 1], (x * y).sum(-1))
    radius = positions.norm(dim=-1)
    return torch.stack((turn, radius[:, :, None].expand(-1, -1, n), radius[:, None].expand(-1, n, -1)), dim=-1)


def pairs_motion(positions: Tensor, angles: Tensor) -> Tensor:
    """Return the logarithm of u_j^-1 u_i in SE(2), u = (turn by the particle's angle, then shift to its position). k = 3.

    For a turn t and a shift s it is (t, V^-1 s) with V^-1 = [[c, t/2], [-t/2, c]], c = (t/2) cot(t/2).
    """
    cos, sin = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
    step = positions[:, :, None] - positions[:, None]
    shift = torch.stack((cos * step[..., 0] + sin * step[..., 1], cos * step[..., 1] - sin * step[..., 0]), dim=-1)
    difference = angles[:, :, None] - angles[:, None]
    half = 0.5 * torch.atan2(torch.sin(difference), torch.cos(difference))
    small = half.abs() < 1e-3
    c = torch.where(small, 1.0 - half.square() / 3.0, half / torch.tan(torch.where(small, torch.ones_like(half), half)))
    s_x, s_y = shift.unbind(-1)
    return torch.stack((2.0 * half, c * s_x + half * s_y, c * s_y - half * s_x), dim=-1)


class LiftedConvolution(nn.Module):
    """h_i = mean over j of k(a_ij) f_j, k(a) = W s(a), s a perceptron of three layers with 32 hidden units.

    Reordered: first b_i = sum_j s_ij f_j^T, then W, so that no kernel per pair exists.
    """

    def __init__(self, n_coordinates: int, n_channels: int) -> None:
        super().__init__()
        self.inner = perceptron([n_coordinates, 32, 32, _N_INNER], ends_linear=False)
        self.weights = nn.Linear(_N_INNER * n_channels, n_channels)

    def forward(self, coordinates: Tensor, f: Tensor) -> Tensor:
        """Map coordinates (B, N, N, k) and features (B, N, C) to (B, N, C)."""
        b = torch.einsum("bijs,bjc->bisc", self.inner(coordinates), f) / f.shape[1]
        return self.weights(b.flatten(2))


class LiftedNetwork(nn.Module):
    """The paper's network for dynamics: bottleneck blocks f + linear(swish(convolution(swish(linear(swish f))))), no batch norm.

    The convolution works on a quarter of the channels, and every particle is everybody's neighbour. Invariant exactly for T(2) and SO(2), and for
    SE(2) where the angles turn with the positions.
    """

    def __init__(self, pairs: PairCoordinates, n_features: int, n_outputs: int, width: int, n_layers: int) -> None:
        super().__init__()
        self.pairs = pairs
        n_coordinates = pairs(torch.ones(1, 1, 2), torch.zeros(1, 1)).shape[-1]
        narrow = max(width // 4, 1)
        self.embedding = nn.Linear(n_features, width)
        self.into = nn.ModuleList(nn.Linear(width, narrow) for _ in range(n_layers))
        self.convolutions = nn.ModuleList(LiftedConvolution(n_coordinates, narrow) for _ in range(n_layers))
        self.out_of = nn.ModuleList(nn.Linear(narrow, width) for _ in range(n_layers))
        self.head = nn.Linear(width, n_outputs)

    def forward(self, positions: Tensor, features: Tensor, angles: Tensor) -> Tensor:
        """Map positions (B, N, 2), features (B, N, c) and lifting angles (B, N) to (B, N, outputs)."""
        coordinates = self.pairs(positions, angles)
        f = self.embedding(features)
        for into, convolution, out_of in zip(self.into, self.convolutions, self.out_of, strict=True):
            g = nn.functional.silu(into(nn.functional.silu(f)))
            f = f + out_of(nn.functional.silu(convolution(coordinates, g)))
        return self.head(nn.functional.silu(f))
