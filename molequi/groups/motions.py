"""The groups of rigid motions of the plane and of space: rotations with translations.

Exponential and logarithm in closed form, stable at angle 0 and pi, with finite second derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.groups.lie import (
    LieGroup,
    act_by_motion,
    inverse_motion,
    motion,
    translation_basis,
    translation_to,
)
from molequi.groups.rotation_groups import PlaneRotations, SpaceRotations
from molequi.groups.rotations import (
    haar_plane,
    haar_space,
    left_jacobian,
    plane_angle,
    plane_angle_between,
    plane_cross,
    plane_rotation,
    rotation_exp,
    rotation_log,
)
from molequi.groups.stable import cotangent_remainder, sinc, versine


class _Motions(LieGroup):
    """What a turn followed by a translation does in the plane and in space alike."""

    def inverse(self, elements: Tensor) -> Tensor:
        """Move and turn back."""
        return inverse_motion(elements)

    def section(self, points: Tensor) -> Tensor:
        """Move the origin to the point."""
        return translation_to(points)

    def act(self, elements: Tensor, points: Tensor) -> Tensor:
        """Turn and move the points."""
        return act_by_motion(elements, points)


class PlaneMotions(_Motions):
    """SE(2), coordinates (angle, x, y); one orbit, and the stabilizer of the origin is SO(2)."""

    dim, point_dim, orbit_dim, matrix_dim, is_free = 3, 2, 0, 3, False

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the motion that turns and moves at constant speed for unit time."""
        angle, vector = coordinates[..., 0], coordinates[..., 1:]
        along, across = (
            sinc(angle.square())[..., None],
            (angle * versine(angle.square()))[..., None],
        )
        return motion(plane_rotation(angle), along * vector + across * _quarter_turn(vector))

    def log(self, elements: Tensor) -> Tensor:
        """Return angle and velocity."""
        return self._log(plane_angle(elements[..., :2, :2]), elements[..., :2, 2])

    def relative(self, first: Tensor, second: Tensor) -> Tensor:
        """Return angle and velocity of the motion between, without its matrix: pairs are many."""
        return self.between(
            first[..., :2, :2], first[..., :2, 2], second[..., :2, :2], second[..., :2, 2]
        )

    def between(self, first: Tensor, to_first: Tensor, second: Tensor, to_second: Tensor) -> Tensor:
        """Return `relative` of motions given by turns (..., 2, 2) and shifts (..., 2).

        Turns that are constant then cost no derivatives.
        """
        x_axis, step = second[..., 0], to_first - to_second
        shift = torch.stack([(x_axis * step).sum(-1), plane_cross(x_axis, step)], -1)
        return self._log(plane_angle_between(first[..., 0], x_axis), shift)

    @staticmethod
    def _log(angle: Tensor, vector: Tensor) -> Tensor:
        along, across = (
            (1.0 - angle.square() * cotangent_remainder(angle.square()))[..., None],
            (0.5 * angle)[..., None],
        )
        return torch.cat([angle[..., None], along * vector - across * _quarter_turn(vector)], -1)

    def stabilizer(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw turns about the origin."""
        turn = haar_plane(shape, like, generator)
        return motion(turn, turn.new_zeros(*shape, 2))

    def basis(self) -> Tensor:
        """Return the generators of turns and of motions along x and y."""
        turn = torch.zeros(1, 3, 3, dtype=torch.float64)
        turn[0, :2, :2] = PlaneRotations().basis()[0]
        return torch.cat([turn, translation_basis(2)])


class SpaceMotions(_Motions):
    """SE(3), coordinates (rotation vector, velocity).

    One orbit, and the stabilizer of the origin is SO(3).
    """

    dim, point_dim, orbit_dim, matrix_dim, is_free = 6, 3, 0, 4, False

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the screw motion of unit time."""
        turn, velocity = coordinates.split(3, dim=-1)
        return motion(
            rotation_exp(turn), torch.einsum("...ij,...j->...i", left_jacobian(turn), velocity)
        )

    def log(self, elements: Tensor) -> Tensor:
        """Return rotation vector and velocity."""
        turn, vector = rotation_log(elements[..., :3, :3]), elements[..., :3, 3]
        once = torch.linalg.cross(turn, vector)
        factor = cotangent_remainder(turn.square().sum(-1, keepdim=True))
        return torch.cat([turn, vector - 0.5 * once + factor * torch.linalg.cross(turn, once)], -1)

    def stabilizer(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw turns about the origin."""
        turn = haar_space(shape, like, generator)
        return motion(turn, turn.new_zeros(*shape, 3))

    def basis(self) -> Tensor:
        """Return the generators of turns and of motions along x, y and z."""
        turns = torch.zeros(3, 4, 4, dtype=torch.float64)
        turns[:, :3, :3] = SpaceRotations().basis()
        return torch.cat([turns, translation_basis(3)])


def _quarter_turn(vectors: Tensor) -> Tensor:
    x, y = vectors.unbind(-1)
    return torch.stack([-y, x], -1)
