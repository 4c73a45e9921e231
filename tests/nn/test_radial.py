"""Radial functions vanish smoothly at the cutoff and stay finite at zero."""

import pytest
import torch

from molequi.nn.radial import RadialNetwork, bessel_basis, envelope

CUTOFF = 4.0


def derivatives(function, r: float) -> list[float]:
    x = torch.tensor([r], dtype=torch.float64, requires_grad=True)
    value = function(x).sum()
    out = [value]
    for _ in range(2):
        (value,) = torch.autograd.grad(value.sum(), x, create_graph=True)
        out.append(value)
    return [float(v.sum().detach()) for v in out]


def test_envelope_starts_at_one_and_ends_at_zero_with_two_derivatives() -> None:
    # From the polynomial 1 - 28 x^6 + 48 x^7 - 21 x^8: u(0) = 1, u'(0) = u''(0) = 0, and a threefold zero at x = 1.
    assert derivatives(lambda r: envelope(r, CUTOFF), 0.0) == pytest.approx([1.0, 0.0, 0.0], abs=1e-14)
    assert derivatives(lambda r: envelope(r, CUTOFF), CUTOFF * (1 - 1e-9)) == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert derivatives(lambda r: envelope(r, CUTOFF), CUTOFF * 1.2) == [0.0, 0.0, 0.0]
    assert derivatives(lambda r: envelope(r, CUTOFF), CUTOFF / 2)[0] == pytest.approx(1 - 28 / 64 + 48 / 128 - 21 / 256)


def test_bessel_basis_is_its_formula() -> None:
    r = torch.tensor([0.7, 3.1], dtype=torch.float64)
    n = torch.arange(1, 4, dtype=torch.float64)
    expected = (2 * CUTOFF) ** 0.5 * torch.sin(n * torch.pi * r[:, None] / CUTOFF) / r[:, None]
    torch.testing.assert_close(bessel_basis(r, CUTOFF, 3), expected, atol=1e-12, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_radial_network_is_finite_at_zero_and_zero_beyond_the_cutoff_after_biases_move(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    network = RadialNetwork(CUTOFF, 8, 3, 4).to(dtype)
    for bias in network.hidden.biases:
        torch.nn.init.normal_(bias)
    r = torch.tensor([0.0, 1e-9, 2.0, CUTOFF, 5.0], dtype=dtype, requires_grad=True)
    values = network(r, torch.ones(3, 1, dtype=dtype))
    (gradient,) = torch.autograd.grad(values.sum(), r)
    assert values.shape == (5, 3, 4)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    assert not values[3:].any()
    assert values[2].abs().min() > 0
