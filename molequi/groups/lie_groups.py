"""The Lie groups of LieConv: translations, rotations, rigid motions, scalings and squeezes of the plane and of space.

Exponential and logarithm in closed form, stable at angle 0 and pi, with finite second derivatives.
What a method is for says `lie.LieGroup`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from molequi.errors import UserError
from molequi.groups.lie import (
    LieGroup,
    act_by_motion,
    inverse_motion,
    motion,
    polar_angle,
    safe_norm,
    translation_basis,
    translation_to,
)
from molequi.groups.rotations import (
    cross_matrix,
    haar_plane,
    haar_space,
    left_jacobian,
    plane_angle,
    plane_angle_between,
    plane_cross,
    plane_rotation,
    rotation_exp,
    rotation_from_z,
    rotation_log,
)
from molequi.groups.scalings import LogPolar, Scalings, Squeezes
from molequi.groups.stable import cotangent_remainder, sinc, versine


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
        """Draw turns about the z axis, and of a point at the origin, which all rotations keep there, any rotations."""
        turns, at_origin = self.stabilizer(shape, points, generator), (points == 0).all(-1)
        return (
            torch.where(
                at_origin[..., None, None, None], haar_space(shape, points, generator), turns
            )
            if bool(at_origin.any())
            else turns
        )

    def basis(self) -> Tensor:
        """Return the generators of turns about x, y and z."""
        return cross_matrix(torch.eye(3, dtype=torch.float64))


class PlaneMotions(LieGroup):
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

    def inverse(self, elements: Tensor) -> Tensor:
        """Move and turn back."""
        return inverse_motion(elements)

    def section(self, points: Tensor) -> Tensor:
        """Move the origin to the point."""
        return translation_to(points)

    def stabilizer(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw turns about the origin."""
        turn = haar_plane(shape, like, generator)
        return motion(turn, turn.new_zeros(*shape, 2))

    def act(self, elements: Tensor, points: Tensor) -> Tensor:
        """Turn and move the points."""
        return act_by_motion(elements, points)

    def basis(self) -> Tensor:
        """Return the generators of turns and of motions along x and y."""
        turn = torch.zeros(1, 3, 3, dtype=torch.float64)
        turn[0, :2, :2] = PlaneRotations().basis()[0]
        return torch.cat([turn, translation_basis(2)])


class SpaceMotions(LieGroup):
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

    def inverse(self, elements: Tensor) -> Tensor:
        """Move and turn back."""
        return inverse_motion(elements)

    def section(self, points: Tensor) -> Tensor:
        """Move the origin to the point."""
        return translation_to(points)

    def stabilizer(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw turns about the origin."""
        turn = haar_space(shape, like, generator)
        return motion(turn, turn.new_zeros(*shape, 3))

    def act(self, elements: Tensor, points: Tensor) -> Tensor:
        """Turn and move the points."""
        return act_by_motion(elements, points)

    def basis(self) -> Tensor:
        """Return the generators of turns and of motions along x, y and z."""
        turns = torch.zeros(3, 4, 4, dtype=torch.float64)
        turns[:, :3, :3] = SpaceRotations().basis()
        return torch.cat([turns, translation_basis(3)])


def _quarter_turn(vectors: Tensor) -> Tensor:
    x, y = vectors.unbind(-1)
    return torch.stack([-y, x], -1)


# By the dimension of the points and the name in settings.
GROUPS: Mapping[int, Mapping[str, Callable[[], LieGroup]]] = {
    2: {
        "trivial": lambda: Translations(2, ()),
        "T(1)y": lambda: Translations(2, (1,)),
        "T(2)": lambda: Translations(2, (0, 1)),
        "SO(2)": PlaneRotations,
        "SE(2)": PlaneMotions,
        "R*": lambda: Scalings(2),
        "R*xSO(2)": LogPolar,
        "R*xSQ": Squeezes,
    },
    3: {
        "trivial": lambda: Translations(3, ()),
        "T(3)": lambda: Translations(3, (0, 1, 2)),
        "SO(3)": SpaceRotations,
        "SE(3)": SpaceMotions,
        "R*": lambda: Scalings(3),
    },
}


def group_named(name: str, point_dim: int) -> LieGroup:
    """Return the group of that name on points in 2 or 3 dimensions.

    Raises UserError for a name that is none of `GROUPS`.
    """
    table = GROUPS[point_dim]
    if name not in table:
        raise UserError(
            f"there is no group {name!r} on points in {point_dim} dimensions; choose one of "
            f"{', '.join(table)}"
        )
    return table[name]()
