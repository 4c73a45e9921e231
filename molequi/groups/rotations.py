"""Rotations of the plane and of space.

Exponential, logarithm, Haar samples, and rotations that carry an axis to a given direction.

All in closed form, with finite second derivatives everywhere, angle 0 and pi included.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molequi.groups.stable import angle_per_sine, cubic_remainder, sinc, versine


def plane_rotation(angle: Tensor) -> Tensor:
    """Return the rotation of the plane by `angle` (...): (..., 2, 2)."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)


def plane_angle(matrix: Tensor) -> Tensor:
    """Return the angle in (-pi, pi] of a multiple of a rotation of the plane, (..., 2, 2)."""
    return torch.atan2(matrix[..., 1, 0] - matrix[..., 0, 1], matrix[..., 0, 0] + matrix[..., 1, 1])


def plane_cross(first: Tensor, second: Tensor) -> Tensor:
    """Return x_1 y_2 - y_1 x_2 of vectors of the plane (..., 2): (...)."""
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def plane_angle_between(first: Tensor, second: Tensor) -> Tensor:
    """Return the angle in (-pi, pi] from the second vector of the plane (..., 2) to the first."""
    return torch.atan2(plane_cross(second, first), (first * second).sum(-1))


def cross_matrix(vectors: Tensor) -> Tensor:
    """Return the matrix of x -> v x x for vectors (..., 3): (..., 3, 3)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return torch.stack(rows, -2)


def rotation_exp(vectors: Tensor) -> Tensor:
    """Return the rotation about `vectors` (..., 3) by their length: (..., 3, 3) (Rodrigues)."""
    square = vectors.square().sum(-1)[..., None, None]
    cross = cross_matrix(vectors)
    return (
        torch.eye(3, dtype=vectors.dtype, device=vectors.device)
        + sinc(square) * cross
        + versine(square) * (cross @ cross)
    )


def rotation_log(matrix: Tensor) -> Tensor:
    """Return the rotation vectors, at most pi long, of (..., 3, 3): (..., 3).

    By the quaternion, whose logarithm has no special point: log R = 2 (t / sin t) v for the
    quaternion (cos t, v) with cos t >= 0.
    """
    quaternion = quaternion_of(matrix)
    sign = torch.where(quaternion[..., :1] < 0, -1.0, 1.0).to(quaternion.dtype)
    real, vector = (sign * quaternion).split([1, 3], dim=-1)
    return 2.0 * angle_per_sine(vector.square().sum(-1, keepdim=True), real) * vector


def quaternion_of(matrix: Tensor) -> Tensor:
    """Return a unit quaternion, real part first, of each rotation (..., 3, 3): (..., 4).

    Its sign may be either. Shepperd's method, J. Guid. Control 1, 223 (1978): the largest of four
    expressions is at least 1, so no root is taken near zero.
    """
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    a, b, c = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    d, e, f = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    diagonal = (
        1 + m[0][0] + m[1][1] + m[2][2],
        1 + m[0][0] - m[1][1] - m[2][2],
        1 - m[0][0] + m[1][1] - m[2][2],
        1 - m[0][0] - m[1][1] + m[2][2],
    )
    rows = (
        (diagonal[0], a, b, c),
        (a, diagonal[1], d, e),
        (b, d, diagonal[2], f),
        (c, e, f, diagonal[3]),
    )
    table = torch.stack([torch.stack(row, -1) for row in rows], -2)
    best = torch.stack(diagonal, -1).argmax(-1)[..., None]
    row = torch.take_along_dim(table, best[..., None], dim=-2).squeeze(-2)
    return 0.5 * row / torch.take_along_dim(row, best, dim=-1).sqrt()


def left_jacobian(vectors: Tensor) -> Tensor:
    """Return V = integral over s in (0, 1) of exp(s v): (..., 3, 3).

    The translation part of the exponential of SE(3).
    """
    square = vectors.square().sum(-1)[..., None, None]
    cross = cross_matrix(vectors)
    return (
        torch.eye(3, dtype=vectors.dtype, device=vectors.device)
        + versine(square) * cross
        + cubic_remainder(square) * (cross @ cross)
    )


def haar_plane(
    shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw rotations of the plane uniformly.

    (*shape, 2, 2), in dtype and on the device of `like`.
    """
    return plane_rotation(
        2.0 * math.pi * torch.rand(shape, generator=generator, dtype=like.dtype, device=like.device)
    )


def haar_space(
    shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """Draw rotations of space from the Haar measure, by uniform unit quaternions.

    (*shape, 3, 3).
    """
    quaternion = torch.randn((*shape, 4), generator=generator, dtype=like.dtype, device=like.device)
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def rotation_from_z(points: Tensor) -> Tensor:
    """Return rotations that carry the z axis to the direction of points (..., 3).

    At the origin any does, and it is the identity: (..., 3, 3).

    No choice is continuous over the whole sphere; this one jumps at the equator.
    """
    square = points.square().sum(-1, keepdim=True)
    is_zero = square == 0
    pole = torch.zeros_like(points)
    pole[..., 2] = 1.0
    direction = (
        torch.where(is_zero, pole, points)
        / torch.where(is_zero, torch.ones_like(square), square).sqrt()
    )
    below = (direction[..., 2] < 0)[..., None]
    # In the lower half a half-turn about x, itself a rotation, brings the direction to the upper
    # half and back.
    turn = torch.where(below, direction.new_tensor([1.0, -1.0, -1.0]), direction.new_ones(3))
    x, y, z = (turn * direction).unbind(-1)
    shared = 1.0 / (1.0 + z)
    rows = (
        (1 - x * x * shared, -x * y * shared, x),
        (-x * y * shared, 1 - y * y * shared, y),
        (-x, -y, z),
    )
    return turn[..., None] * torch.stack([torch.stack(row, -1) for row in rows], -2)
