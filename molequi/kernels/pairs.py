"""Coulomb energy and D3(BJ) of all pairs of atoms, compiled, without a tensor of pairs.

    E_i = 1/2 sum_j [k q_i q_j X(r) - C6_ij h(r)],  X = (erfc(a r) - fc(r)) / r,
    h = s6 / (r^6 + R^6) + s8 Q / (r^8 + R^8),  C6_ij = sum_(a,b) w_ia(CN_i) w_jb(CN_j) C6_ab,
    CN_i = sum_j f(r),

over all images in crystals; a = 0 in molecules. The plain torch of `nn.physics` is the truth in the
tests. With weights g the gradients of L = sum_i g_i E_i, where G_ij = (g_i + g_j) / 2, are

    dL/dq_i = sum_j G_ij k q_j X,
    dL/dCN_i = - sum_j G_ij h dC6_ij/dCN_i,
    dL/dx_j = sum_i d_ij / r [G_ij (k q_i q_j X' - C6_ij h') + (dL/dCN_i + dL/dCN_j) f'].

Second derivatives are how these change along a direction (u, v) of positions and charges, by the
rules of calculus term by term; as second derivatives are symmetric, that is the gradient of
<u, dL/dx> + <v, dL/dq> by x and q, and how E_i changes is the one by g_i. Third derivatives are
refused by autograd.

Everything is computed in float64; gradients have the type of what they belong to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from molequi.kernels import compiled, threads
from molequi.kernels.edges import NodeRange
from molequi.kernels.pair_inputs import CELL_ROWS, Elements, Space, Strengths

# Of an image of a pair, in the unit of `threads`.
_COST = 10


class Dispersion(NamedTuple):
    """D3(BJ): a1, a2 (Å), and the table of elements as in `nn.physics.d3_table`, NumPy."""

    a1: float
    a2: float
    c6: np.ndarray
    references: np.ndarray
    radii: np.ndarray
    moments: np.ndarray


class PairPhysics(NamedTuple):
    """What acts between atoms; `dispersion` is None where there is none."""

    strengths: Strengths
    dispersion: Dispersion | None


def pair_energies(
    points: Tensor, charges: Tensor | None, numbers: np.ndarray, space: Space, physics: PairPhysics
) -> Tensor:
    """Return E: (N,), float64, eV; differentiable twice, on a CPU.

    points: positions and cells, see `pair_inputs`. charges: (N,), e; None without Coulomb energy.
    numbers: (N,), atomic numbers.
    """
    return _Energies.apply(points, charges, numbers, space, physics)


class _System(NamedTuple):
    """What the kernels read beside points and charges.

    ranges: of atoms, a thread each.
    """

    space: Space
    elements: Elements
    strengths: Strengths
    ranges: list[NodeRange]

    def sum(self, kernel: Callable, *arguments: Any, shape: tuple[int, int]) -> np.ndarray:
        """Return the sum over the threads of what a kernel adds to an array of that shape."""
        if len(self.ranges) == 1:
            alone = np.empty(shape)
            kernel(*self.ranges[0], *arguments, alone)
            return alone
        own = np.empty((len(self.ranges), *shape))
        threads.run(kernel, arguments, (), (), self.ranges, of_range=own)
        return own.sum(axis=0)

    @property
    def has_dispersion(self) -> bool:
        """Whether coordination numbers matter."""
        return len(self.elements.present) > 0

    def translations(self, points: np.ndarray) -> np.ndarray:
        """Return those of the images (M, 3), Å, from the cells among points."""
        if len(self.space.shifts) == 1:
            return self.space.shifts
        cells = points[len(self.space.batch) :].reshape(-1, CELL_ROWS, 3)[:, :3]
        translations = np.zeros_like(self.space.shifts)
        for cell, first, last in zip(cells, self.space.first, self.space.last, strict=True):
            translations[first:last] = self.space.shifts[first:last] @ cell
        return translations


def _system(x: np.ndarray, numbers: np.ndarray, space: Space, physics: PairPhysics) -> _System:
    """Find what follows from the points once and is used in every pass."""
    ranges, d3, n = _ranges(space), physics.dispersion, len(space.batch)
    if d3 is None:
        return _System(space, _no_elements(), physics.strengths, ranges)
    kinds, present, sizes, terms = compiled.pair_setup.sort_elements(
        numbers, d3.references, d3.radii, d3.moments, d3.a1, d3.a2
    )
    elements = Elements(numbers, kinds, present, sizes, terms, d3.c6, _no_elements().weights)
    system = _System(space, elements, physics.strengths, ranges)
    coordination = system.sum(
        compiled.pairs.coordination, x, system.translations(x), space, elements, shape=(n, 1)
    )
    weights = compiled.pair_setup.weigh(coordination[:, 0], numbers, d3.references)
    return system._replace(elements=elements._replace(weights=weights))


@functools.lru_cache(maxsize=1)
def _no_elements() -> Elements:
    none, weights = np.empty(0, np.int64), np.empty((3, 0, 0))
    return Elements(none, none, none, none, np.empty((0, 0, 4)), np.empty((0, 0, 0, 0)), weights)


def _ranges(space: Space) -> list[NodeRange]:
    """Share out the atoms; a small system is one share, whatever its structures."""
    n = len(space.batch)
    if not threads.is_worth_sharing(n * n // 2 * len(space.shifts), _COST):
        return [NodeRange(0, n)]
    partners = space.ends - np.arange(n)
    images = (space.last - space.first)[space.batch]
    return threads.cut(np.concatenate([[0], np.cumsum(partners * images)]), cost=_COST)


class _Energies(torch.autograd.Function):
    """E of points and charges."""

    @staticmethod
    def forward(
        ctx: Any,
        points: Tensor,
        charges: Tensor | None,
        numbers: np.ndarray,
        space: Space,
        physics: PairPhysics,
    ) -> Tensor:
        x, n = _double(points), len(space.batch)
        ctx.save_for_backward(points, charges)
        ctx.system = system = _system(x, numbers, space, physics)
        energies = system.sum(
            compiled.pairs.energies,
            x,
            system.translations(x),
            _double(charges, n),
            *system[:3],
            shape=(n, 1),
        )
        return torch.from_numpy(energies)[:, 0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (points, charges), (g,) = ctx.saved_tensors, gradients
        # An operator of its own costs time, and only second derivatives need it.
        gradient = _Gradient.apply if torch.is_grad_enabled() else _gradient
        by_point, by_charge = gradient(points, charges, g, ctx.system)
        return by_point, by_charge, None, None, None


def _gradient(
    points: Tensor, charges: Tensor | None, g: Tensor, system: _System
) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of sum_i g_i E_i by points and charges."""
    x, q, weights = _double(points), _double(charges, len(g)), _double(g)
    where = x, system.translations(x)
    found = system.sum(compiled.pairs.gradient, *where, q, weights, *system[:3], shape=(len(x), 5))
    by_point = found[:, :3]
    if system.has_dispersion:
        by_point = by_point + system.sum(
            compiled.pairs.gradient_by_coordination,
            *where,
            found[: len(g), 4],
            *system[:2],
            shape=by_point.shape,
        )
    return _like(points, by_point), _like(charges, found[: len(g), 3])


class _Gradient(torch.autograd.Function):
    """The same, to be differentiated once more."""

    @staticmethod
    def forward(
        ctx: Any, points: Tensor, charges: Tensor | None, g: Tensor, system: _System
    ) -> tuple[Tensor | None, Tensor | None]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(points, charges, g)
        ctx.system = system
        return _gradient(points, charges, g, system)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *directions: Tensor | None) -> tuple[Tensor | None, ...]:
        points, charges, g = ctx.saved_tensors
        system: _System = ctx.system
        n, x = len(g), _double(points)
        u, v = _double(directions[0], *x.shape), _double(directions[1], n)
        along = x, system.translations(x), u, system.translations(u)
        tangents, dcn = compiled.pair_tangents, np.zeros((n, 1))
        if system.has_dispersion:
            dcn = system.sum(tangents.coordination, *along, *system[:2], shape=(n, 1))
        found = system.sum(
            tangents.gradient,
            *along[:2],
            _double(charges, n),
            _double(g),
            *along[2:],
            v,
            dcn[:, 0],
            *system[:3],
            shape=(len(x), 7),
        )
        by_point = found[:, :3]
        if system.has_dispersion:
            by_point = by_point + system.sum(
                tangents.gradient_by_coordination,
                *along,
                found[:n, 5],
                found[:n, 6],
                *system[:2],
                shape=by_point.shape,
            )
        by_charge = _like(charges, found[:n, 3])
        return _like(points, by_point), by_charge, _like(g, found[:n, 4]), None


def _double(tensor: Tensor | None, *shape: int) -> np.ndarray:
    """Return a float64 array, contiguous; zeros of a shape for None."""
    if tensor is None:
        return np.zeros(shape)
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float64)


def _like(tensor: Tensor | None, values: np.ndarray) -> Tensor | None:
    """Return values as a tensor of that type, contiguous."""
    if tensor is None:
        return None
    like = torch.from_numpy(np.ascontiguousarray(values))
    return like if tensor.dtype == torch.float64 else like.to(tensor.dtype)
