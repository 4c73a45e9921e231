"""Radial functions vanish smoothly at the cutoff and stay finite at zero."""

import functools

import pytest
import torch
from ase.build import molecule

from molequi import load
from molequi.graphs.neighbors import build_graph
from molequi.kernels import splines
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
    # From the polynomial 1 - 28 x^6 + 48 x^7 - 21 x^8: u(0) = 1, u'(0) = u''(0) = 0, and a
    # threefold zero at x = 1.
    assert derivatives(lambda r: envelope(r, CUTOFF), 0.0) == pytest.approx(
        [1.0, 0.0, 0.0], abs=1e-14
    )
    assert derivatives(lambda r: envelope(r, CUTOFF), CUTOFF * (1 - 1e-9)) == pytest.approx(
        [0.0, 0.0, 0.0], abs=1e-6
    )
    assert derivatives(lambda r: envelope(r, CUTOFF), CUTOFF * 1.2) == [0.0, 0.0, 0.0]
    assert derivatives(lambda r: envelope(r, CUTOFF), CUTOFF / 2)[0] == pytest.approx(
        1 - 28 / 64 + 48 / 128 - 21 / 256
    )


def test_bessel_basis_is_its_formula() -> None:
    r = torch.tensor([0.7, 3.1], dtype=torch.float64)
    n = torch.arange(1, 4, dtype=torch.float64)
    expected = (2 * CUTOFF) ** 0.5 * torch.sin(n * torch.pi * r[:, None] / CUTOFF) / r[:, None]
    torch.testing.assert_close(bessel_basis(r, CUTOFF, 3), expected, atol=1e-12, rtol=0.0)


def network(cutoff: float = CUTOFF, dtype: torch.dtype = torch.float64) -> RadialNetwork:
    torch.manual_seed(0)
    made = RadialNetwork(cutoff, 8, 3, 4).to(dtype)
    for bias in made.hidden.biases:
        torch.nn.init.normal_(bias)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_radial_functions_are_finite_at_zero_and_zero_from_the_cutoff_on_after_biases_move(
    dtype: torch.dtype,
) -> None:
    r = torch.tensor([0.0, 1e-9, 2.0, CUTOFF, 5.0], dtype=dtype, requires_grad=True)
    values = splines.evaluate(network(dtype=dtype)(torch.ones(3, 1, dtype=dtype)), r, CUTOFF)
    (gradient,) = torch.autograd.grad(values.sum(), r)
    assert values.shape == (5, 3, 4)
    assert torch.isfinite(values).all()
    assert torch.isfinite(gradient).all()
    assert not values[3:].any()
    assert values[2].abs().min() > 0


def test_splines_are_the_network_to_a_hundred_thousandth_in_value() -> None:
    ones, made = torch.ones(3, 1, dtype=torch.float64), network()
    r = torch.linspace(0.4, CUTOFF, 997, dtype=torch.float64, requires_grad=True)
    exact, spline = made.evaluate(r, ones), splines.evaluate(made(ones), r, CUTOFF)
    (exact_slope,), (slope,) = (
        torch.autograd.grad(x.sum(), r, retain_graph=True) for x in (exact, spline)
    )
    assert float((spline - exact).detach().abs().max()) < 1e-5 * float(exact.detach().abs().max())
    # Slopes converge in the third power only, and these random networks are rougher than trained
    # ones.
    assert float((slope - exact_slope).abs().max()) < 1e-3 * float(exact_slope.abs().max())


def test_forces_of_the_bundled_model_are_those_of_its_network_on_every_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = load("organic", dtype="float64")
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=0)
    graph = build_graph(atoms.positions, atoms.numbers, model.cutoff)
    forces = model.compute(graph)["forces"]
    layers = model.backbone.layers
    calls = iter(
        [
            functools.partial(
                layer.radial.evaluate, path_scale=layer.path_scale * layer.neighbor_count.rsqrt()
            )
            for layer in layers
        ]
    )
    monkeypatch.setattr(
        splines, "evaluate", lambda coefficients, distances, *_: next(calls)(distances)
    )
    on_edges = model.compute(graph)["forces"]
    # The splines are the model; what they stand for is nearer than float32 and labels can tell.
    deviation = float((forces - on_edges).abs().max() / forces.abs().max())
    assert 1e-13 < deviation < 5e-5
