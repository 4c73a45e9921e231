"""LieConv: convolutions over points lifted to a Lie group.

h_i = 1/n_i sum over the neighbours d(u_i, v_j) <= r of k(a_ij) f_j, with a_ij = (log(v_j^-1 u_i),
q_i, q_j) and q the embedded orbit (Finzi, Stanton, Izmailov, Wilson, ICML 2020). What enters are
relative elements only, so a motion of all lifts changes nothing. B point sets, n lifted points in
each, C channels, A coordinates of a pair.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.groups.clouds import Cloud, Selection, Subsampling, farthest_points
from molequi.groups.norms import MaskedBatchNorm, Norm


class KernelNetwork(nn.Module):
    """s(a): three layers of linear, norm and Swish, (..., A) -> (..., n_middle)."""

    def __init__(
        self, n_in: int, n_hidden: int, n_middle: int, norm: Norm = MaskedBatchNorm
    ) -> None:
        super().__init__()
        sizes = (n_in, n_hidden, n_hidden, n_middle)
        self.linears = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.norms = nn.ModuleList(norm(size) for size in sizes[1:])

    def forward(self, coordinates: Tensor) -> Tensor:
        """Apply the network."""
        x = coordinates
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = functional.silu(norm(linear(x)))
        return x


class LieConv(nn.Module):
    """One convolution, with the sums in PointConv's order (Wu, Qi, Li, CVPR 2019).

    k = W s(a), so first b_i = sum_j s_ij f_j^T, then W b_i. The kernel matrices (pairs, C_out,
    C_in) are never made: n_middle numbers per pair are. n_pair: A. radius: of the neighbourhood, in
    the distance. n_neighbors: at most so many of them, drawn anew in every call, of which the mean
    is then an estimate; all of them where there is none.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_pair: int,
        *,
        n_hidden: int = 32,
        n_middle: int = 16,
        radius: float = math.inf,
        n_neighbors: int | None = None,
        norm: Norm = MaskedBatchNorm,
    ) -> None:
        super().__init__()
        self.n_middle, self.radius, self.n_neighbors = n_middle, radius, n_neighbors
        self.kernel = KernelNetwork(n_pair, n_hidden, n_middle, norm)
        self.mix = nn.Linear(n_middle * n_in, n_out)

    def forward(self, cloud: Cloud, features: Tensor, receivers: Selection | None = None) -> Tensor:
        """Convolve features (B, n, C_in): (B, n, C_out), or (B, K, C_out) at `receivers`."""
        here = cloud.mask if receivers is None else receivers.mask
        seen = cloud if receivers is None else cloud.received_by(receivers)
        near = (seen.distances <= self.radius) & here[:, :, None] & cloud.mask[:, None, :]
        if self.n_neighbors is not None:
            near = some_of(near, self.n_neighbors)
        if bool(near.all()):
            mixed = (
                torch.einsum("bijm,bjc->bimc", self.kernel(seen.coordinates), features)
                / near.shape[2]
            )
            return self.mix(mixed.flatten(2))
        pairs = near.nonzero(as_tuple=True)
        weights = features.new_zeros(*near.shape, self.n_middle).index_put(
            pairs, self.kernel(seen.coordinates[pairs])
        )
        mixed = (
            torch.einsum("bijm,bjc->bimc", weights, features)
            / near.sum(2).clamp(min=1)[:, :, None, None]
        )
        return self.mix(mixed.flatten(2)) * here[..., None]


def some_of(near: Tensor, n_neighbors: int) -> Tensor:
    """Keep at most so many true entries of each last axis, any of them with equal chance."""
    if near.shape[-1] <= n_neighbors:
        return near
    ranks = torch.rand(near.shape, device=near.device).masked_fill(~near, 2.0)
    last = ranks.kthvalue(n_neighbors, dim=-1, keepdim=True).values
    return near & (ranks <= last)


class BottleneckBlock(nn.Module):
    """x + linear(swish(bn(conv(swish(bn(linear(swish(bn(x))))))).

    The convolution works on a quarter of the channels. Where channels are added the shortcut is
    padded with zeros; where points are dropped it drops them too.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        n_pair: int,
        *,
        n_hidden: int = 32,
        n_middle: int = 16,
        radius: float = math.inf,
        n_neighbors: int | None = None,
        norm: Norm = MaskedBatchNorm,
    ) -> None:
        super().__init__()
        narrow_in, narrow_out = max(1, n_in // 4), max(1, n_out // 4)
        self.n_added = n_out - n_in
        self.norms = nn.ModuleList(norm(size) for size in (n_in, narrow_in, narrow_out))
        self.enter, self.leave = nn.Linear(n_in, narrow_in), nn.Linear(narrow_out, n_out)
        self.convolution = LieConv(
            narrow_in,
            narrow_out,
            n_pair,
            n_hidden=n_hidden,
            n_middle=n_middle,
            radius=radius,
            n_neighbors=n_neighbors,
            norm=norm,
        )

    def forward(self, cloud: Cloud, features: Tensor, receivers: Selection | None = None) -> Tensor:
        """Return (B, n, C_out), or (B, K, C_out) at `receivers`."""
        here = cloud.mask if receivers is None else receivers.mask
        x = self.enter(functional.silu(self.norms[0](features, cloud.mask)))
        x = self.convolution(cloud, functional.silu(self.norms[1](x, cloud.mask)), receivers)
        x = self.leave(functional.silu(self.norms[2](x, here)))
        kept = (
            features
            if receivers is None
            else torch.take_along_dim(features, receivers.points[..., None], dim=1)
        )
        return functional.pad(kept, (0, self.n_added)) + x


class Stage(NamedTuple):
    """A block: radius and size of its neighbourhoods, the fraction of points it keeps."""

    radius: float = math.inf
    fraction: float = 1.0
    n_neighbors: int | None = None


class LieResNet(nn.Module):
    """A residual network of bottleneck blocks over a cloud.

    Features (B, n, C_in) -> (B, K, n_channels) and the mask (B, K) of what is left.

    subsample: chooses the points of stages that do not keep all of them. norm: makes what
    normalises so many channels.
    """

    def __init__(
        self,
        n_in: int,
        n_channels: int,
        n_pair: int,
        stages: Sequence[Stage],
        *,
        n_hidden: int = 32,
        n_middle: int = 16,
        subsample: Subsampling | None = None,
        norm: Norm = MaskedBatchNorm,
    ) -> None:
        super().__init__()
        self.fractions = tuple(stage.fraction for stage in stages)
        self.subsample = farthest_points if subsample is None else subsample
        self.enter = nn.Linear(n_in, n_channels)
        make_block = functools.partial(
            BottleneckBlock,
            n_channels,
            n_channels,
            n_pair,
            n_hidden=n_hidden,
            n_middle=n_middle,
            norm=norm,
        )
        self.blocks = nn.ModuleList(
            make_block(radius=stage.radius, n_neighbors=stage.n_neighbors) for stage in stages
        )
        self.norm = norm(n_channels)

    def forward(
        self, cloud: Cloud, features: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Apply the network; `generator` is for random subsampling."""
        x = self.enter(features) * cloud.mask[..., None]
        for block, fraction in zip(self.blocks, self.fractions, strict=True):
            receivers = None if fraction >= 1.0 else self.subsample(cloud, fraction, generator)
            x = block(cloud, x, receivers)
            cloud = cloud if receivers is None else cloud.subset(receivers)
        return functional.silu(self.norm(x, cloud.mask)), cloud.mask
