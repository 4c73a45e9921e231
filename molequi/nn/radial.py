"""Radial functions R(r) = u(r) net(basis(r)) as splines.

Twice continuously differentiable and zero from the cutoff on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.kernels import splines
from molequi.nn.linear import Perceptron, unit_gain
from molequi.nn.matrices import Blocks, MatrixWeights

# Below this distance (Å) the basis is held constant, so that coincident atoms give finite numbers.
MINIMUM_DISTANCE = 1e-3
# Knot intervals per Å, and at least so many per basis function: forces then differ from those of
# the network on every edge by less than 5e-5 of the largest.
KNOTS_PER_ANGSTROM, KNOTS_PER_FUNCTION = 64, 20


def envelope(distances: Tensor, cutoff: float) -> Tensor:
    """Return u(r): 1 at r = 0, zero with two derivatives at the cutoff and beyond.

    Same shape as `distances` (Å).

    Gasteiger, Gross, Guennemann, Directional Message Passing for Molecular Graphs, ICLR 2020, eq.
    8, with p = 6.
    """
    x = (distances / cutoff).clamp(max=1.0)
    cube = x * x * x
    value = 1.0 - cube * cube * (28.0 - x * (48.0 - 21.0 * x))
    return torch.where(x < 1.0, value, torch.zeros_like(value))


def bessel_basis(distances: Tensor, cutoff: float, n_radial: int) -> Tensor:
    """Return sqrt(2 c) sin(n pi r / c) / r, whose mean square over [1 Å, c] is about 1.

    (E,) -> (E, n_radial).

    Same paper, eq. 7, times c; below MINIMUM_DISTANCE the value is held.
    """
    frequencies = torch.arange(1, n_radial + 1, dtype=distances.dtype, device=distances.device) * (
        math.pi / cutoff
    )
    safe = distances.clamp(min=MINIMUM_DISTANCE)[:, None]
    return math.sqrt(2.0 * cutoff) * torch.sin(safe * frequencies) / safe


class RadialNetwork(nn.Module, MatrixWeights):
    """`R[p, c](r) = u(r) net(basis(r))[p, c]` as cubic B-splines.

    The network runs on the knots, once a step, not on every edge.

    The splines are the model, in training and in inference alike. The last layer has no bias, so
    the envelope may multiply its input: R and two derivatives vanish at the cutoff.
    """

    def __init__(
        self, cutoff: float, n_radial: int, n_paths: int, n_channels: int, *, n_hidden: int = 32
    ) -> None:
        super().__init__()
        self.cutoff, self.n_radial, self.n_paths, self.n_channels = (
            cutoff,
            n_radial,
            n_paths,
            n_channels,
        )
        self.hidden = Perceptron((n_radial, n_hidden, n_hidden))
        self.weight = nn.Parameter(torch.randn(n_hidden, n_paths, n_channels))
        self.n_intervals = max(
            math.ceil(KNOTS_PER_ANGSTROM * cutoff), KNOTS_PER_FUNCTION * n_radial
        )

    def forward(self, path_scale: Tensor) -> Tensor:
        """Return the splines' coefficients (K + 3, n_paths, n_channels).

        Path_scale (n_paths, 1) multiplies each path.
        """
        # In float64 up to the basis, so that a model in float32 and its copy in float64 share their
        # knots. The functions are even in r, which tells their values at the knot before zero.
        knots = splines.knots(self.n_intervals, self.cutoff, self.weight.device).abs()
        basis, u = (
            x.to(self.weight.dtype)
            for x in (bessel_basis(knots, self.cutoff, self.n_radial), envelope(knots, self.cutoff))
        )
        hidden = splines.interpolate(functional.silu(self.hidden(basis)) * u[:, None])
        return self._combine(hidden, path_scale)

    def evaluate(self, distances: Tensor, path_scale: Tensor) -> Tensor:
        """Return the network itself at `distances` (E,), Å: (E, n_paths, n_channels).

        What the splines stand for.
        """
        basis = bessel_basis(distances, self.cutoff, self.n_radial)
        return self._combine(
            functional.silu(self.hidden(basis)) * envelope(distances, self.cutoff)[:, None],
            path_scale,
        )

    def matrices(self) -> Iterator[tuple[nn.Parameter, Blocks]]:
        """Name one matrix per path, from hidden features to channels."""
        yield self.weight, Blocks(columns=self.n_paths)

    def _combine(self, hidden: Tensor, path_scale: Tensor) -> Tensor:
        scaled = self.weight * (
            path_scale * (unit_gain(functional.silu) * len(self.weight) ** -0.5)
        )
        return (hidden @ scaled.reshape(len(scaled), -1)).reshape(-1, self.n_paths, self.n_channels)
