"""Radial functions R(r) = u(r) net(basis(r)), twice differentiable and zero from the cutoff on."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.nn.linear import Perceptron, unit_gain

# Below this distance (Å) the basis is held constant, so that coincident atoms give finite numbers.
MINIMUM_DISTANCE = 1e-3


def envelope(distances: Tensor, cutoff: float) -> Tensor:
    """Return u(r): 1 at r = 0, zero with two derivatives at the cutoff and beyond. Same shape as `distances` (Å).

    Gasteiger, Gross, Guennemann, Directional Message Passing for Molecular Graphs, ICLR 2020, eq. 8, with p = 6.
    """
    x = (distances / cutoff).clamp(max=1.0)
    cube = x * x * x
    value = 1.0 - cube * cube * (28.0 - x * (48.0 - 21.0 * x))
    return torch.where(x < 1.0, value, torch.zeros_like(value))


def bessel_basis(distances: Tensor, cutoff: float, n_radial: int) -> Tensor:
    """Return sqrt(2 c) sin(n pi r / c) / r, whose mean square over [1 Å, c] is about 1: (E,) -> (E, n_radial).

    Same paper, eq. 7, times c; below MINIMUM_DISTANCE the value is held.
    """
    frequencies = torch.arange(1, n_radial + 1, dtype=distances.dtype, device=distances.device) * (math.pi / cutoff)
    safe = distances.clamp(min=MINIMUM_DISTANCE)[:, None]
    return math.sqrt(2.0 * cutoff) * torch.sin(safe * frequencies) / safe


class RadialNetwork(nn.Module):
    """R_e[p, c] = u(r) net(basis(r))[p, c]: distances (E,) in Å -> (E, n_paths, n_channels).

    The last layer has no bias, so the envelope may multiply its input: R and two derivatives vanish at the cutoff, and
    the matrix product is the only operation on a tensor of size (E, n_paths, n_channels).
    """

    def __init__(self, cutoff: float, n_radial: int, n_paths: int, n_channels: int, *, n_hidden: int = 32) -> None:
        super().__init__()
        self.cutoff, self.n_radial, self.n_paths, self.n_channels = cutoff, n_radial, n_paths, n_channels
        self.hidden = Perceptron((n_radial, n_hidden, n_hidden))
        self.weight = nn.Parameter(torch.randn(n_hidden, n_paths, n_channels))

    def forward(self, distances: Tensor, path_scale: Tensor) -> Tensor:
        """Evaluate the functions at `distances`; path_scale (n_paths, 1) multiplies each path."""
        hidden = functional.silu(self.hidden(bessel_basis(distances, self.cutoff, self.n_radial))) * envelope(distances, self.cutoff)[:, None]
        scaled = self.weight * (path_scale * (unit_gain(functional.silu) * len(self.weight) ** -0.5))
        return (hidden @ scaled.reshape(len(scaled), -1)).reshape(-1, self.n_paths, self.n_channels)
