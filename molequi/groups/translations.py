"""Translations of the plane and of space, along all axes or some."""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.groups.lie import LieGroup, act_by_motion, motion, translation_basis, translation_to


class Translations(LieGroup):
    """T(k): translations along `axes` of points in `point_dim` dimensions.

    The orbit is told by the other coordinates. No axes: the trivial group.
    """

    def __init__(self, point_dim: int, axes: tuple[int, ...]) -> None:
        self.point_dim, self.axes, self.dim = point_dim, axes, len(axes)
        self.others = tuple(axis for axis in range(point_dim) if axis not in axes)
        self.orbit_dim, self.matrix_dim, self.is_whole = (
            len(self.others),
            point_dim + 1,
            axes == tuple(range(point_dim)),
        )

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the motion by a vector."""
        identity = torch.eye(self.point_dim, dtype=coordinates.dtype, device=coordinates.device)
        vector = coordinates if self.is_whole else coordinates @ identity[list(self.axes)]
        return motion(identity.expand(*vector.shape[:-1], -1, -1), vector)

    def log(self, elements: Tensor) -> Tensor:
        """Return the vector."""
        vector = elements[..., :-1, -1]
        return vector if self.is_whole else vector[..., list(self.axes)]

    def inverse(self, elements: Tensor) -> Tensor:
        """Move back."""
        return self.exp(-self.log(elements))

    def relative(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the difference of the vectors: translations commute."""
        return self.log(first) - self.log(second)

    def section(self, points: Tensor) -> Tensor:
        """Move along the axes to the point."""
        if not self.axes:
            return translation_to(torch.zeros_like(points))
        return self.exp(points if self.is_whole else points[..., list(self.axes)])

    def orbit(self, points: Tensor) -> Tensor:
        """Return the coordinates that no translation changes."""
        return points if self.dim == 0 else points[..., list(self.others)]

    def act(self, elements: Tensor, points: Tensor) -> Tensor:
        """Move the points."""
        return act_by_motion(elements, points)

    def basis(self) -> Tensor:
        """Return the unit translations."""
        return translation_basis(self.point_dim)[list(self.axes)]
