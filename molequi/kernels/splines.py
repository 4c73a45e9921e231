"""Radial functions as cubic B-splines from 0 to the cutoff.

Twice continuously differentiable, and zero from the cutoff on.

R(r) = sum_k B(x(r) - k) s[k + 1] for k = -1 ... K + 1, where B is the cubic B-spline of de Boor (A
Practical Guide to Splines, 1978, chapter IX), of support (-2, 2), and x = K (1 + a) r / (r + a c)
runs from 0 to K at the cutoff c: knots lie five times as close at 1 Å, where bonds are stiff, as at
5 Å. The last three coefficients, whose functions reach across the cutoff, must be zero.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from molequi.runtime.constants import kept_constants

# The constant a above: half of the knots lie below a quarter of the cutoff.
STRETCH = 0.5

# A number, a tensor, or the text of a kernel that is being written (`codegen.text.Text`).
Number = Any


def basis(t: Number) -> tuple[Number, Number, Number, Number]:
    """Return the four B-splines that are not zero on an interval, at the place t in [0, 1) there.

    This one, its derivatives and `place_near` with its own say for all kernels, in whatever
    language, what a spline is.
    """
    u = 1.0 - t
    return (
        u * u * u / 6.0,
        (0.5 * t - 1.0) * t * t + 2.0 / 3.0,
        ((0.5 - 0.5 * t) * t + 0.5) * t + 1.0 / 6.0,
        t * t * t / 6.0,
    )


def first_derivatives(t: Number) -> tuple[Number, Number, Number, Number]:
    """Return the derivatives of `basis` in t."""
    u = 1.0 - t
    return -0.5 * u * u, (1.5 * t - 2.0) * t, (1.0 - 1.5 * t) * t + 0.5, 0.5 * t * t


def second_derivatives(t: Number) -> tuple[Number, Number, Number, Number]:
    """Return the second derivatives of `basis` in t."""
    return 1.0 - t, 3.0 * t - 2.0, 1.0 - 3.0 * t, t


def map_numbers(n_intervals: int, cutoff: float) -> tuple[float, float]:
    """Return scale and shift of the knots' map x(r) = scale (1 - shift / (r + shift))."""
    return n_intervals * (1.0 + STRETCH), STRETCH * cutoff


def place(r: Tensor, n_intervals: int, cutoff: float) -> Tensor:
    """Return x(r)."""
    scale, shift = map_numbers(n_intervals, cutoff)
    return scale * (1.0 - shift / (r + shift))


def place_near(near: Number, scale: Number, shift: Number) -> Number:
    """Return x(r) of near = 1 / (r + shift), as kernels compute it."""
    return scale * (1.0 - shift * near)


def slope_near(near: Number, scale: Number, shift: Number) -> Number:
    """Return x'(r)."""
    return scale * shift * near * near


def bend_near(near: Number, slope: Number) -> Number:
    """Return x''(r) of x'(r)."""
    return -2.0 * slope * near


def knots(n_intervals: int, cutoff: float, device: torch.device | None = None) -> Tensor:
    """Return the positions of the K + 3 coefficients, Å, float64.

    The first lies below zero, the last beyond the cutoff.
    """
    x = torch.arange(-1, n_intervals + 2, dtype=torch.float64, device=device)
    scale, shift = map_numbers(n_intervals, cutoff)
    return shift * x / (scale - x)


def interpolate(values: Tensor) -> Tensor:
    """Return the coefficients of the spline through the `values` of an even function at the knots.

    (K + 3, ...) -> (K + 3, ...).

    (s_{k-1} + 4 s_k + s_{k+1}) / 6 = f_k from 0 to the last knot but one before the cutoff; s_{-1}
    = s_1, because f is even. The error falls with the fourth power of the distance of the knots (de
    Boor, chapter V).
    """
    inverse = _interpolation(len(values) - 3, values.dtype, values.device)
    return torch.tensordot(inverse, values, dims=1)


@kept_constants
def _interpolation(n_intervals: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The inverse of the interpolation equations, solved in float64: (K + 3, K + 3).

    The rows of the three coefficients at the cutoff are zero.
    """
    n = n_intervals
    equations = (
        np.diag(np.full(n, 4 / 6))
        + np.diag(np.full(n - 1, 1 / 6), 1)
        + np.diag(np.full(n - 1, 1 / 6), -1)
    )
    equations[0, :3] = 1.0, 0.0, -1.0
    matrix = np.zeros((n + 3, n + 3))
    matrix[:n, 1:n] = np.linalg.inv(equations)[:, 1:]
    return torch.from_numpy(matrix).to(device=device, dtype=dtype)


def evaluate(
    coefficients: Tensor, distances: Tensor, cutoff: float, kinds: Tensor | None = None
) -> Tensor:
    """Return the splines at `distances`: (K + 3, P, C), (E,) -> (E, P, C).

    NaN stays NaN; differentiable to any order. kinds: (E,), which of several splines (kinds, K + 3,
    P, C) an edge takes; none, or an empty one, where there is one.

    The third derivative is constant on each interval.
    """
    n_intervals = int(coefficients.shape[-3]) - 3  # a number, to tracers too: they round sizes
    x = place(distances, n_intervals, cutoff)
    is_inside = ~(distances >= cutoff)
    # Rounding may bring x to K below the cutoff.
    interval = (
        torch.where(is_inside, x.detach().nan_to_num(0.0), torch.zeros_like(x))
        .floor()
        .clamp(max=n_intervals - 1)
        .to(torch.int64)
    )
    t = torch.where(is_inside, x - interval, torch.zeros_like(x))
    if kinds is not None and len(kinds) > 0:
        interval = interval + kinds * (n_intervals + 3)
    rows = coefficients.flatten(0, -3)
    terms = (b[:, None, None] * rows.index_select(0, interval + k) for k, b in enumerate(basis(t)))
    values = functools.reduce(torch.add, terms)
    return torch.where(is_inside[:, None, None], values, torch.zeros_like(values))
