"""LieConv: convolutions over points lifted to a Lie group (Finzi, Stanton, Izmailov, Wilson, ICML 2020).

h_i = 1/n_i sum over the neighbours d(u_i, v_j) <= r of k(a_ij) f_j, with a_ij = (log(v_j^-1 u_i),
q_i, q_j) and q the embedded orbit. What enters are relative elements only, so a motion of all lifts
changes nothing. B point sets, n lifted points in each, C channels, A coordinates of a pair.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.groups.lie import LieGroup

# Chooses points to keep: (cloud, fraction, generator) -> indices (B, K) and which of them are real
# (B, K).
Subsampling = Callable[["Cloud", float, torch.Generator | None], tuple[Tensor, Tensor]]
# Makes a module for a number of channels: (x (..., C), mask (...) or None) -> (..., C).
Norm = Callable[[int], nn.Module]


class Cloud(NamedTuple):
    """Lifted points seen from each other.

    coordinates: (B, n, n, A), of receiver i and sender j. distances: (B, n, n), without
    derivatives. mask: (B, n), bool, False where padded.
    """

    coordinates: Tensor
    distances: Tensor
    mask: Tensor

    def subset(self, index: Tensor, mask: Tensor) -> Cloud:
        """Keep the points `index` (B, K), of which those in `mask` (B, K) are real."""
        return self.received_by(index)._columns(index, mask)

    def received_by(self, index: Tensor) -> Cloud:
        """Keep only the receivers `index`: coordinates (B, K, n, A).

        The mask stays that of the senders.
        """
        coordinates = torch.take_along_dim(self.coordinates, index[:, :, None, None], dim=1)
        return self._replace(
            coordinates=coordinates,
            distances=torch.take_along_dim(self.distances, index[:, :, None], dim=1),
        )

    def _columns(self, index: Tensor, mask: Tensor) -> Cloud:
        coordinates = torch.take_along_dim(self.coordinates, index[:, None, :, None], dim=2)
        return Cloud(
            coordinates, torch.take_along_dim(self.distances, index[:, None, :], dim=2), mask
        )


def pair_coordinates(group: LieGroup, elements: Tensor, orbits: Tensor) -> Tensor:
    """Return (log(v_j^-1 u_i), q_i, q_j) of all pairs: (B, n, n, A).

    elements: (B, n, m, m). orbits: (B, n, orbit_dim).
    """
    relative = group.relative(elements[:, :, None], elements[:, None, :])
    if not group.orbit_dim:
        return relative
    n_points = orbits.shape[1]
    return torch.cat(
        [
            relative,
            orbits[:, :, None].expand(-1, -1, n_points, -1),
            orbits[:, None].expand(-1, n_points, -1, -1),
        ],
        -1,
    )


def make_cloud(
    group: LieGroup, elements: Tensor, orbits: Tensor, mask: Tensor, dtype: torch.dtype
) -> Cloud:
    """Relate all lifted points to each other; arguments as of `pair_coordinates`, mask (B, n).

    The distance is sqrt(||log||_F² + |q_i - q_j|²).
    """
    coordinates = pair_coordinates(group, elements, orbits)
    with torch.no_grad():
        relative, receiver, sender = coordinates.split(
            [group.dim, group.orbit_dim, group.orbit_dim], dim=-1
        )
        distances = torch.hypot(group.length(relative), (receiver - sender).square().sum(-1).sqrt())
    return Cloud(coordinates.to(dtype), distances, mask)


def n_coordinates(group: LieGroup) -> int:
    """Return A, the number of coordinates of a pair."""
    return group.dim + 2 * group.orbit_dim


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over what is not padded.

    Y = weight (x - mean) / sqrt(variance + 1e-5) + bias, for each channel.

    In training with the moments of the batch, of which a running mean is kept (momentum 0.1, as in
    Ioffe and Szegedy 2015); else with that.
    """

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.momentum = 0.1
        self.weight, self.bias = (
            nn.Parameter(torch.ones(n_channels)),
            nn.Parameter(torch.zeros(n_channels)),
        )
        self.register_buffer("mean", torch.zeros(n_channels))
        self.register_buffer("variance", torch.ones(n_channels))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise (..., C); mask: (...), bool, all where there is none.

        What is masked out comes back as zero.
        """
        mean, variance = self._moments(x, mask) if self.training else (self.mean, self.variance)
        scale = self.weight * torch.rsqrt(variance + 1e-5)
        result = x * scale + (self.bias - mean * scale)
        return result if mask is None else result * mask[..., None]

    def _moments(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        weight = x.new_ones(x.shape[:-1]) if mask is None else mask.expand(x.shape[:-1]).to(x.dtype)
        count, dims = weight.sum().clamp(min=1.0), tuple(range(x.ndim - 1))
        mean = (x * weight[..., None]).sum(dims) / count
        variance = ((x - mean).square() * weight[..., None]).sum(dims) / count
        with torch.no_grad():
            self.mean.lerp_(mean, self.momentum)
            self.variance.lerp_(variance * count / (count - 1.0).clamp(min=1.0), self.momentum)
        return mean, variance


@contextlib.contextmanager
def measuring(network: nn.Module) -> Iterator[None]:
    """Within this context a forward pass sets the running moments of every `MaskedBatchNorm` to those of its batch."""
    norms, was_training = (
        [module for module in network.modules() if isinstance(module, MaskedBatchNorm)],
        network.training,
    )
    momenta = [norm.momentum for norm in norms]
    try:
        network.train()
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            yield
    finally:
        network.train(was_training)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class Unnormalised(nn.Module):
    """Stands where a norm would and leaves everything as it is, for functions whose value must not depend on a batch, such as a Hamiltonian."""

    def __init__(self, _n_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, _mask: Tensor | None = None) -> Tensor:
        """Return x."""
        return x


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
    """One convolution, with the sums in PointConv's order (Wu, Qi, Li, CVPR 2019): k = W s(a), so first b_i = sum_j s_ij f_j^T, then W b_i.

    The kernel matrices (pairs, C_out, C_in) are never made: n_middle numbers per pair are. n_pair:
    A. radius: of the neighbourhood, in the distance.
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
        norm: Norm = MaskedBatchNorm,
    ) -> None:
        super().__init__()
        self.n_middle, self.radius = n_middle, radius
        self.kernel = KernelNetwork(n_pair, n_hidden, n_middle, norm)
        self.mix = nn.Linear(n_middle * n_in, n_out)

    def forward(
        self, cloud: Cloud, features: Tensor, receivers: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Convolve features (B, n, C_in): (B, n, C_out), or (B, K, C_out) at receivers (B, K) given with their mask (B, K)."""
        here = cloud.mask if receivers is None else receivers[1]
        seen = cloud if receivers is None else cloud.received_by(receivers[0])
        near = (seen.distances <= self.radius) & here[:, :, None] & cloud.mask[:, None, :]
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


class BottleneckBlock(nn.Module):
    """x + linear(swish(bn(conv(swish(bn(linear(swish(bn(x)))))))), the convolution on a quarter of the channels.

    Where channels are added the shortcut is padded with zeros; where points are dropped it drops
    them too.
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
            norm=norm,
        )

    def forward(
        self, cloud: Cloud, features: Tensor, receivers: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Return (B, n, C_out), or (B, K, C_out) at `receivers`."""
        here = cloud.mask if receivers is None else receivers[1]
        x = self.enter(functional.silu(self.norms[0](features, cloud.mask)))
        x = self.convolution(cloud, functional.silu(self.norms[1](x, cloud.mask)), receivers)
        x = self.leave(functional.silu(self.norms[2](x, here)))
        kept = (
            features
            if receivers is None
            else torch.take_along_dim(features, receivers[0][..., None], dim=1)
        )
        return functional.pad(kept, (0, self.n_added)) + x


class Stage(NamedTuple):
    """A block of the network: the radius of its neighbourhoods, and the fraction of the points that it keeps."""

    radius: float = math.inf
    fraction: float = 1.0


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
        sizes = {"n_hidden": n_hidden, "n_middle": n_middle, "norm": norm}
        self.blocks = nn.ModuleList(
            BottleneckBlock(n_channels, n_channels, n_pair, radius=stage.radius, **sizes)
            for stage in stages
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
            cloud = cloud if receivers is None else cloud.subset(*receivers)
        return functional.silu(self.norm(x, cloud.mask)), cloud.mask


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Pool features (B, n, C) over what is not padded: (B, C)."""
    return (features * mask[..., None]).sum(1) / mask.sum(1).clamp(min=1)[:, None]


def random_points(
    cloud: Cloud, fraction: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Keep a random part of the points of each set, at least one.

    Indices (B, K) and mask (B, K).
    """
    order = (
        torch.rand(cloud.mask.shape, generator=generator, device=cloud.mask.device)
        .masked_fill(~cloud.mask, 2.0)
        .argsort(1)
    )
    mask = _kept(cloud.mask, fraction)
    return order[:, : mask.shape[1]], mask


def farthest_points(
    cloud: Cloud, fraction: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Keep points one by one, from the first on, each the farthest from those before it in the metric of the group.

    Distances do not change when the lifts move, so neither does the choice. Indices (B, K) and mask
    (B, K).
    """
    mask = _kept(cloud.mask, fraction)
    index = cloud.mask.long().argmax(1, keepdim=True)
    nearest = torch.full_like(cloud.distances[:, 0], math.inf)
    for _ in range(mask.shape[1] - 1):
        latest = torch.take_along_dim(cloud.distances, index[:, -1:, None], dim=1)[:, 0]
        nearest = torch.minimum(nearest, latest).scatter(1, index[:, -1:], -1.0)
        index = torch.cat(
            [index, nearest.masked_fill(~cloud.mask, -2.0).argmax(1, keepdim=True)], 1
        )
    return index[:, : mask.shape[1]], mask


def _kept(mask: Tensor, fraction: float) -> Tensor:
    """Return which of the first K places are taken, K the largest number kept of any set.

    (B, K).
    """
    counts = torch.ceil(mask.sum(1) * fraction).long()
    return torch.arange(int(counts.max()), device=mask.device) < counts[:, None]
