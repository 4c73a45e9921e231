"""Splines against SciPy's, and what they do at their ends."""

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from molequi.kernels import splines

CUTOFF, K = 4.0, 12


def random_coefficients() -> torch.Tensor:
    coefficients = torch.randn(
        K + 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    coefficients[-3:] = 0.0
    return coefficients


def test_values_and_derivatives_are_those_of_scipy() -> None:
    coefficients, a = random_coefficients(), splines.STRETCH
    oracle = BSpline(np.arange(-3, K + 4), coefficients.reshape(K + 3, -1).numpy(), 3)
    r = torch.linspace(0.0, CUTOFF - 1e-9, 101, dtype=torch.float64, requires_grad=True)
    # x(r) and its derivatives, written out.
    s = r.detach().numpy() + a * CUTOFF
    x, slope, curvature = (
        K * (1 + a) * r.detach().numpy() / s,
        K * (1 + a) * a * CUTOFF / s**2,
        -2 * K * (1 + a) * a * CUTOFF / s**3,
    )
    values = splines.evaluate(coefficients, r, CUTOFF)
    np.testing.assert_allclose(values.detach().reshape(101, -1), oracle(x), atol=1e-12)
    column, first, second = (
        values[:, 1, 2],
        oracle.derivative(1)(x)[:, 5],
        oracle.derivative(2)(x)[:, 5],
    )
    for expected in (first * slope, second * slope**2 + first * curvature):
        (column,) = torch.autograd.grad(column.sum(), r, create_graph=True)
        np.testing.assert_allclose(column.detach(), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zero_from_the_cutoff_on_and_nan_for_nan(dtype: torch.dtype) -> None:
    r = torch.tensor([CUTOFF, 2 * CUTOFF, 1e30, torch.inf, torch.nan, 1.0], dtype=dtype)
    values = splines.evaluate(random_coefficients().to(dtype), r, CUTOFF)
    assert not values[:4].any()
    assert torch.isnan(values[4]).all()
    assert torch.isfinite(values[5]).all()


def test_interpolation_of_a_smooth_even_function_converges_in_the_fourth_power() -> None:
    def error(n: int) -> float:
        def function(r: torch.Tensor) -> torch.Tensor:
            return (torch.cos(2.0 * r) * (1.0 - (r / CUTOFF).clamp(max=1.0) ** 2) ** 4)[
                :, None, None
            ]

        r = torch.linspace(0.0, CUTOFF, 501, dtype=torch.float64)
        return float(
            (
                splines.evaluate(
                    splines.interpolate(function(splines.knots(n, CUTOFF).abs())), r, CUTOFF
                )
                - function(r)
            )
            .abs()
            .max()
        )

    assert error(64) < 1e-4
    assert error(32) / error(64) > 12.0


def test_the_equations_are_solved_once_for_each_type() -> None:
    """A copy from the CPU in every call could not be captured in a CUDA graph."""
    for dtype in (torch.float32, torch.float64):
        one, other = (splines._interpolation(8, dtype, torch.device("cpu")) for _ in range(2))
        assert one is other
        assert one.dtype == dtype
