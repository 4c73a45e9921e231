"""The groups of rotations of the plane and of space, about the origin."""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.groups.lie import LieGroup, polar_angle, safe_norm
from molequi.groups.rotations import (
    cross_matrix,
    haar_plane,
    haar_space,
    plane_angle,
    plane_angle_between,
    plane_rotation,
    rotation_exp,
    rotation_from_z,
    rotation_log,
)


class PlaneRotations(LieGroup):
    """SO(2) about the origin; orbits are circles, told by |x|.

    A point exactly at the origin has one lift too, the identity, which does not turn with the other
    points: keep the centre off the points.
    """

    dim, point_dim, orbit_dim, matrix_dim = 1, 2, 1, 2

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the rotation by an angle."""
        return plane_rotation(coordinates[..., 0])

    def log(self, elements: Tensor) -> Tensor:
        """Return the angle."""
        return plane_angle(elements)[..., None]

    def inverse(self, elements: Tensor) -> Tensor:
        """Turn back."""
        return elements.transpose(-1, -2)

    def relative(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the angle between the images of the x axis."""
        return plane_angle_between(first[..., 0], second[..., 0])[..., None]

    def section(self, points: Tensor) -> Tensor:
        """Turn the x axis to the point; at the origin, not at all."""
        return plane_rotation(polar_angle(points))

    def orbit(self, points: Tensor) -> Tensor:
        """Return the distance from the origin."""
        return safe_norm(points)

    def basis(self) -> Tensor:
        """Return the generator of turns."""
        return torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)


class SpaceRotations(LieGroup):
    """SO(3) about the origin.

    The stabilizer of a point are the turns about its axis, of the origin all turns; orbits are
    spheres, told by |x|.
    """

    dim, point_dim, orbit_dim, matrix_dim, is_free = 3, 3, 1, 3, False

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the rotation about a vector by its length."""
        return rotation_exp(coordinates)

    def log(self, elements: Tensor) -> Tensor:
        """Return the rotation vector."""
        return rotation_log(elements)

    def inverse(self, elements: Tensor) -> Tensor:
        """Turn back."""
        return elements.transpose(-1, -2)

    def section(self, points: Tensor) -> Tensor:
        """Turn the z axis to the point."""
        return rotation_from_z(points)

    def orbit(self, points: Tensor) -> Tensor:
        """Return the distance from the origin."""
        return safe_norm(points)

    def stabilizer(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw turns about the z axis."""
        turn = haar_plane(shape, like, generator)
        matrix = torch.eye(3, dtype=like.dtype, device=like.device).repeat(*shape, 1, 1)
        matrix[..., :2, :2] = turn
        return matrix

    def stabilizers_of(
        self, points: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw turns about the z axis; of a point at the origin, which all keep, any rotations."""
        turns, at_origin = self.stabilizer(shape, points, generator), (points == 0).all(-1)
        if not bool(at_origin.any()):
            return turns
        anything = haar_space(shape, points, generator)
        return torch.where(at_origin[..., None, None, None], anything, turns)

    def basis(self) -> Tensor:
        """Return the generators of turns about x, y and z."""
        return cross_matrix(torch.eye(3, dtype=torch.float64))
