"""Scalings R*, log-polar maps R* x SO(2) and squeezes R* x SQ.

Groups for which a point at the centre has no lift.

Here R* are the positive numbers. Elements are matrices on the points themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.groups.lie import LieGroup, safe_norm
from molequi.groups.rotations import plane_angle, plane_rotation


class Scalings(LieGroup):
    """R*: x -> r x; coordinate log r. Orbits are rays, told by x / |x|."""

    dim, lifts_origin = 1, False

    def __init__(self, point_dim: int) -> None:
        self.point_dim = self.orbit_dim = self.matrix_dim = point_dim

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the scaling by e to the coordinate."""
        return torch.exp(coordinates)[..., None] * torch.eye(
            self.point_dim, dtype=coordinates.dtype, device=coordinates.device
        )

    def log(self, elements: Tensor) -> Tensor:
        """Return the logarithm of the factor."""
        return elements[..., 0, 0].log()[..., None]

    def inverse(self, elements: Tensor) -> Tensor:
        """Scale back."""
        return self.exp(-self.log(elements))

    def relative(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the difference of logarithms: scalings commute."""
        return self.log(first) - self.log(second)

    def section(self, points: Tensor) -> Tensor:
        """Scale by the distance from the origin.

        Raises UserError for a point at the origin.
        """
        _refuse(points, (points == 0).all(-1), "at the origin")
        return self.exp(safe_norm(points).log())

    def orbit(self, points: Tensor) -> Tensor:
        """Return the direction."""
        return points / safe_norm(points)

    def basis(self) -> Tensor:
        """Return the identity, the generator of scalings."""
        return torch.eye(self.point_dim, dtype=torch.float64)[None]


class LogPolar(LieGroup):
    """R* x SO(2): scalings and turns of the plane; coordinates (log r, angle).

    All points but the origin are one orbit.
    """

    dim, point_dim, orbit_dim, matrix_dim, lifts_origin = 2, 2, 0, 2, False

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the turned scaling."""
        return torch.exp(coordinates[..., 0])[..., None, None] * plane_rotation(coordinates[..., 1])

    def log(self, elements: Tensor) -> Tensor:
        """Return the logarithm of the factor, and the angle."""
        return torch.stack(
            [0.5 * elements[..., 0].square().sum(-1).log(), plane_angle(elements)], -1
        )

    def inverse(self, elements: Tensor) -> Tensor:
        """Scale and turn back."""
        return elements.transpose(-1, -2) / elements[..., 0].square().sum(-1)[..., None, None]

    def section(self, points: Tensor) -> Tensor:
        """Turn and scale the unit vector along x to the point.

        As a complex number, the point itself.

        Raises UserError for a point at the origin.
        """
        _refuse(points, (points == 0).all(-1), "at the origin")
        x, y = points.unbind(-1)
        return torch.stack([torch.stack([x, -y], -1), torch.stack([y, x], -1)], -2)

    def basis(self) -> Tensor:
        """Return the generators of scalings and of turns."""
        return torch.tensor(
            [[[1.0, 0.0], [0.0, 1.0]], [[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64
        )


class Squeezes(LieGroup):
    """R* x SQ: (x, y) -> (r s x, r y / s); coordinates (log r, log s).

    Each open quadrant is an orbit, told by the signs of x and y.
    """

    dim, point_dim, orbit_dim, matrix_dim, lifts_origin = 2, 2, 2, 2, False

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the diagonal matrix."""
        scale, squeeze = coordinates.unbind(-1)
        return torch.diag_embed(torch.stack([scale + squeeze, scale - squeeze], -1).exp())

    def log(self, elements: Tensor) -> Tensor:
        """Return half the sum and half the difference of the logarithms."""
        first, second = elements[..., 0, 0].log(), elements[..., 1, 1].log()
        return torch.stack([0.5 * (first + second), 0.5 * (first - second)], -1)

    def inverse(self, elements: Tensor) -> Tensor:
        """Scale and squeeze back."""
        return torch.diag_embed(1.0 / elements.diagonal(dim1=-2, dim2=-1))

    def section(self, points: Tensor) -> Tensor:
        """Carry the corner (±1, ±1) of the point's quadrant to the point.

        Raises UserError for a point on an axis.
        """
        _refuse(points, (points == 0).any(-1), "on an axis")
        return torch.diag_embed(points.abs())

    def orbit(self, points: Tensor) -> Tensor:
        """Return the quadrant."""
        return points.sign()

    def basis(self) -> Tensor:
        """Return the generators of scalings and of squeezes."""
        return torch.tensor(
            [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]]], dtype=torch.float64
        )


def _refuse(points: Tensor, wrong: Tensor, where: str) -> None:
    if bool(wrong.any()):
        index = wrong.nonzero()[0].tolist()
        raise UserError(
            f"point {index} lies {where}, where this group has no lift: "
            f"{points[tuple(index)].tolist()}; move the centre off the points"
        )
