"""The damped Coulomb energy against AIMNet2's own term and against the equation by hand."""

import math

import pytest
import torch

from molequi.graphs.neighbors import build_graph
from molequi.kernels.pair_inputs import COULOMB_CONSTANT
from molequi.nn.physics import CoulombParameters, LongRange
from molequi.nn.physics.coulomb import far_reciprocal, near_part

KERNELS = ["reference", "generic"]


def energy(r: float, charges: tuple[float, float], kernels: str = "reference") -> float:
    graph = build_graph([[0.0, 0.0, 0.0], [0.0, 0.0, r]], [11, 17], 1.0)
    coulomb = LongRange(CoulombParameters())
    coulomb.use_kernels(kernels)
    return coulomb(graph, torch.tensor(charges, dtype=torch.float64)).sum().item()


def test_constant_is_that_of_the_si() -> None:
    # CODATA 2018: e / (4 pi eps0) = 1.439964548e-9 V m.
    assert abs(COULOMB_CONSTANT / 14.39964548 - 1.0) < 1e-7


@pytest.mark.parametrize("kernels", KERNELS)
def test_energy_is_that_of_aimnet2(golden_charges, kernels: str) -> None:
    graph, charges, expected, *_ = golden_charges
    coulomb = LongRange(CoulombParameters())
    coulomb.use_kernels(kernels)
    assert abs(coulomb(graph, charges).sum().item() - expected) < 1e-6


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("r", [0.7, 2.3, 4.59, 4.6, 7.0, 300.0])
def test_two_charges(r: float, kernels: str) -> None:
    near = math.exp(1.0 - 1.0 / (1.0 - (r / 4.6) ** 2)) if r < 4.6 else 0.0
    expected = 14.39964548 * 0.5 * -0.25 / r * (1.0 - near)
    assert energy(r, (0.5, -0.25), kernels) == pytest.approx(expected, rel=2e-7)


@pytest.mark.parametrize("kernels", KERNELS)
def test_coincident_charges_have_no_energy_and_no_nan(kernels: str) -> None:
    graph = build_graph([[0.0, 0.0, 0.0]] * 2, [11, 17], 1.0)
    positions = graph.positions.requires_grad_()
    coulomb = LongRange(CoulombParameters())
    coulomb.use_kernels(kernels)
    energies = coulomb(graph, torch.tensor([1.0, -1.0]))
    (gradient,) = torch.autograd.grad(energies.sum(), positions, create_graph=True)
    (bend,) = torch.autograd.grad(gradient.square().sum(), positions)
    assert energies.abs().max() < 1e-9
    assert gradient.abs().max() == 0.0
    assert bend.isfinite().all()


def test_near_and_far_part_are_one() -> None:
    r = torch.linspace(0.01, 9.0, 300, dtype=torch.float64)
    together = near_part(r, 4.6) / r + far_reciprocal(r, 4.6)
    torch.testing.assert_close(together, 1.0 / r, rtol=1e-13, atol=0)


@pytest.mark.parametrize("r", [0.5, 2.0, 4.0, 4.597, 4.6, 5.0])
def test_damping_is_smooth(r: float) -> None:
    at = torch.tensor([r], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: far_reciprocal(x, 4.6), at)
    assert torch.autograd.gradgradcheck(lambda x: far_reciprocal(x, 4.6), at)


def test_charges_are_asked_for() -> None:
    graph = build_graph([[0.0, 0.0, 0.0]], [11], 1.0)
    with pytest.raises(ValueError, match="needs charges"):
        LongRange(CoulombParameters())(graph)
