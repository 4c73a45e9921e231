"""Even functions of an angle, as functions of its square.

Finite with all derivatives at zero, where the closed forms are 0/0.

Below `_SMALL` the Taylor series is summed, above it the closed form evaluated; at the seam both
agree to rounding, with their derivatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_SMALL = 0.5
_N_TERMS = 9

# |B_2k| / (2k)!, k = 1, 2, ..., with the Bernoulli numbers B.
_BERNOULLI = (
    1 / 12, 1 / 720, 1 / 30240, 1 / 1209600, 1 / 47900160, 691 / 1307674368000, 1 / 74724249600,
    3617 / 10670622842880000, 43867 / 5109094217170944000,
)  # fmt: skip
# asin(y) / y as a series in y².
_ARCSINE = tuple(math.comb(2 * n, n) / (4**n * (2 * n + 1)) for n in range(14))


def sinc(square: Tensor) -> Tensor:
    """Return sin(t) / t of t²."""
    return _even(square, _factorials(1), lambda t: torch.sin(t) / t)


def versine(square: Tensor) -> Tensor:
    """Return (1 - cos(t)) / t² of t²."""
    return _even(square, _factorials(2), lambda t: 2.0 * (torch.sin(0.5 * t) / t).square())


def cubic_remainder(square: Tensor) -> Tensor:
    """Return (t - sin(t)) / t³ of t²."""
    return _even(square, _factorials(3), lambda t: (t - torch.sin(t)) / t**3)


def cotangent_remainder(square: Tensor) -> Tensor:
    """Return (1 - (t/2) cot(t/2)) / t² of t², for t below 2 pi."""
    return _even(
        square,
        _BERNOULLI,
        lambda t: (1.0 - 0.5 * t * torch.cos(0.5 * t) / torch.sin(0.5 * t)) / t.square(),
    )


def angle_per_sine(square: Tensor, cosine: Tensor) -> Tensor:
    """Return t / sin(t) from sin(t)² and cos(t) >= 0.

    Finite up to t = pi/2, where the cosine is zero.
    """
    small = square < 0.05
    series = _horner(torch.where(small, square, torch.zeros_like(square)), _ARCSINE)
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    return torch.where(small, series, torch.atan2(sine, cosine) / sine)


def _factorials(first: int) -> tuple[float, ...]:
    return tuple((-1) ** k / math.factorial(2 * k + first) for k in range(_N_TERMS))


def _even(square: Tensor, series: Sequence[float], closed: Callable[[Tensor], Tensor]) -> Tensor:
    """Choose between series and closed form.

    Each sees harmless numbers where it is not chosen, so that no derivative is NaN.
    """
    small = square < _SMALL
    near = _horner(torch.where(small, square, torch.zeros_like(square)), series)
    far = closed(torch.where(small, torch.ones_like(square), square).sqrt())
    return torch.where(small, near, far)


def _horner(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    total = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * x + coefficient
    return total
