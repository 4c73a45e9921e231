"""What a Lie group is to a convolution.

Exponential and logarithm, and the lift of points to group elements.

Elements are matrices: of rotations and scalings on the points themselves, of motions on homogeneous
coordinates. A point x = u o of the orbit of the origin o lifts to the elements u v with v from the
stabilizer of o, sampled from its Haar measure; what tells orbits apart is the orbit embedding
(Finzi, Stanton, Izmailov, Wilson, ICML 2020, section 4). The distance is d(u, v) = ||log(u^-1
v)||_F.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Lift(NamedTuple):
    """Points lifted to L group elements each.

    elements: (..., L, m, m). orbits: (..., L, orbit_dim), the same for all lifts of a point.
    """

    elements: Tensor
    orbits: Tensor


class LieGroup:
    """What LieConv needs of a group; subclasses say the rest.

    dim: of the algebra. point_dim: of the space it acts on. orbit_dim: length of the orbit
    embedding. matrix_dim: m.
    is_free: whether only the identity keeps a point where it is, so that a point has one lift.
    lifts_origin: whether the origin has a lift.
    """

    dim: int
    point_dim: int
    orbit_dim: int
    matrix_dim: int
    is_free, lifts_origin = True, True

    def exp(self, coordinates: Tensor) -> Tensor:
        """Return the elements of coordinates (..., dim) in the algebra: (..., m, m)."""
        raise NotImplementedError

    def log(self, elements: Tensor) -> Tensor:
        """Return the coordinates of elements (..., m, m): (..., dim)."""
        raise NotImplementedError

    def inverse(self, elements: Tensor) -> Tensor:
        """Return the inverse elements."""
        raise NotImplementedError

    def section(self, points: Tensor) -> Tensor:
        """Return an element that carries the origin of its orbit to each point: (..., m, m).

        points: (..., point_dim).
        """
        raise NotImplementedError

    def orbit(self, points: Tensor) -> Tensor:
        """Return the embedding of the orbit of each point: (..., orbit_dim)."""
        return points[..., :0]

    def stabilizer(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw from the Haar measure of the elements that keep the origin in place.

        (*shape, m, m).
        """
        identity = torch.eye(self.matrix_dim, dtype=like.dtype, device=like.device)
        return identity.expand(*shape, self.matrix_dim, self.matrix_dim)

    def stabilizers_of(
        self, points: Tensor, shape: tuple[int, ...], generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw elements that keep the origin of the orbit of each point in place: (*shape, m, m).

        points: (..., point_dim). shape: (..., L).
        """
        return self.stabilizer(shape, points, generator)

    def act(self, elements: Tensor, points: Tensor) -> Tensor:
        """Return u x: (..., point_dim)."""
        return torch.einsum("...ij,...j->...i", elements, points)

    def relative(self, first: Tensor, second: Tensor) -> Tensor:
        """Return log(second^-1 first): (..., dim)."""
        return self.log(self.inverse(second) @ first)

    def basis(self) -> Tensor:
        """Return the matrices of the algebra that the coordinates refer to: (dim, m, m), float64.

        Orthogonal to each other.
        """
        raise NotImplementedError

    def length(self, coordinates: Tensor) -> Tensor:
        """Return the Frobenius norm of the algebra element with coordinates (..., dim): (...)."""
        weights = self.basis().square().sum((1, 2)).to(coordinates)
        return (coordinates.square() * weights).sum(-1).sqrt()

    def lift(
        self,
        points: Tensor,
        n_lifts: int = 1,
        generator: torch.Generator | None = None,
        stabilizers: Tensor | None = None,
    ) -> Lift:
        """Lift points (..., point_dim) by Haar samples, drawn for every point.

        stabilizers: (n_lifts, m, m), to be taken instead.
        """
        shape = (*points.shape[:-1], n_lifts)
        elements = self.section(points)[..., None, :, :]
        if stabilizers is not None or not self.is_free:
            elements = elements @ (
                self.stabilizers_of(points, shape, generator)
                if stabilizers is None
                else stabilizers.to(points)
            )
        return Lift(
            elements.expand(*shape, -1, -1),
            self.orbit(points)[..., None, :].expand(*shape, self.orbit_dim),
        )


def safe_norm(points: Tensor) -> Tensor:
    """Return the length of points (..., d): (..., 1).

    At the origin its derivatives are zero instead of undefined.
    """
    square = points.square().sum(-1, keepdim=True)
    is_zero = square == 0
    return torch.where(
        is_zero,
        torch.zeros_like(square),
        torch.where(is_zero, torch.ones_like(square), square).sqrt(),
    )


def polar_angle(points: Tensor) -> Tensor:
    """Return the angle of points of the plane (..., 2): (...).

    0 at the origin, with zero derivatives.
    """
    x, y = points.unbind(-1)
    is_zero = (x == 0) & (y == 0)
    return torch.atan2(
        torch.where(is_zero, torch.zeros_like(y), y), torch.where(is_zero, torch.ones_like(x), x)
    )


def motion(linear: Tensor, vector: Tensor) -> Tensor:
    """Return x -> linear x + vector on homogeneous coordinates: (..., d + 1, d + 1)."""
    top = torch.cat([linear, vector[..., None]], -1)
    last = torch.zeros_like(top[..., :1, :])
    last[..., -1] = 1.0
    return torch.cat([top, last], -2)


def inverse_motion(elements: Tensor) -> Tensor:
    """Return the inverse of rotations with translations, on homogeneous coordinates."""
    back = elements[..., :-1, :-1].transpose(-1, -2)
    return motion(back, -torch.einsum("...ij,...j->...i", back, elements[..., :-1, -1]))


def translation_to(points: Tensor) -> Tensor:
    """Return the translation that carries the origin to each point (..., d)."""
    identity = torch.eye(points.shape[-1], dtype=points.dtype, device=points.device)
    return motion(identity.expand(*points.shape, points.shape[-1]), points)


def act_by_motion(elements: Tensor, points: Tensor) -> Tensor:
    """Apply matrices on homogeneous coordinates to points (..., d)."""
    return (
        torch.einsum("...ij,...j->...i", elements[..., :-1, :-1], points) + elements[..., :-1, -1]
    )


def translation_basis(point_dim: int) -> Tensor:
    """Return the generators of translations on homogeneous coordinates.

    (d, d + 1, d + 1), float64.
    """
    basis = torch.zeros(point_dim, point_dim + 1, point_dim + 1, dtype=torch.float64)
    basis[range(point_dim), range(point_dim), -1] = 1.0
    return basis
