"""Lifted points seen from each other, and which of them to keep.

B point sets, n lifted points in each, A coordinates of a pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.groups.lie import LieGroup


class Selection(NamedTuple):
    """Points that are kept of each set.

    points: (B, K), their numbers. mask: (B, K), bool, which of them are real: sets keep different
    numbers of points.
    """

    points: Tensor
    mask: Tensor


class Cloud(NamedTuple):
    """Lifted points seen from each other.

    coordinates: (B, n, n, A), of receiver i and sender j. distances: (B, n, n), without
    derivatives. mask: (B, n), bool, False where padded.
    """

    coordinates: Tensor
    distances: Tensor
    mask: Tensor

    def subset(self, kept: Selection) -> Cloud:
        """Keep these points."""
        seen, columns = self.received_by(kept), kept.points[:, None, :]
        return Cloud(
            torch.take_along_dim(seen.coordinates, columns[..., None], dim=2),
            torch.take_along_dim(seen.distances, columns, dim=2),
            kept.mask,
        )

    def received_by(self, kept: Selection) -> Cloud:
        """Keep only these receivers: coordinates (B, K, n, A).

        The mask stays that of the senders.
        """
        rows = kept.points[:, :, None]
        return self._replace(
            coordinates=torch.take_along_dim(self.coordinates, rows[..., None], dim=1),
            distances=torch.take_along_dim(self.distances, rows, dim=1),
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


# Chooses the points to keep, a fraction of each set.
Subsampling = Callable[[Cloud, float, torch.Generator | None], Selection]


def masked_mean(features: Tensor, mask: Tensor) -> Tensor:
    """Pool features (B, n, C) over what is not padded: (B, C)."""
    return (features * mask[..., None]).sum(1) / mask.sum(1).clamp(min=1)[:, None]


def random_points(
    cloud: Cloud, fraction: float, generator: torch.Generator | None = None
) -> Selection:
    """Keep a random part of the points of each set, at least one."""
    order = (
        torch.rand(cloud.mask.shape, generator=generator, device=cloud.mask.device)
        .masked_fill(~cloud.mask, 2.0)
        .argsort(1)
    )
    mask = _kept(cloud.mask, fraction)
    return Selection(order[:, : mask.shape[1]], mask)


def farthest_points(
    cloud: Cloud, fraction: float, generator: torch.Generator | None = None
) -> Selection:
    """Keep points one by one, from the first on, each the farthest from those before it.

    In the metric of the group: distances do not change when the lifts move, so neither does the
    choice.
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
    return Selection(index[:, : mask.shape[1]], mask)


def _kept(mask: Tensor, fraction: float) -> Tensor:
    """Return which of the first K places are taken, K the largest number kept of any set.

    (B, K).
    """
    # 0.6 of 25 are 15, whatever a float makes of it.
    counts = torch.ceil(mask.sum(1).double() * fraction - 1e-9).long()
    return torch.arange(int(counts.max()), device=mask.device) < counts[:, None]
