"""What each model of dynamics promises: symmetry of its energy, and so what a rollout conserves.

And what it does not promise.
"""

from __future__ import annotations

import math

import pytest
import torch

from molequi.errors import UserError
from molequi.groups.clouds import Cloud
from molequi.groups.lieconv import LieConv
from molequi.groups.norms import Unnormalised
from molequi.hamiltonian.lie_networks import LiftedNetwork, Lifting
from molequi.hamiltonian.mechanics import HamiltonianModel, angular_momentum, linear_momentum, rk4
from molequi.hamiltonian.models import RECIPES, Shape, make_dynamics
from molequi.hamiltonian.springs import sample_springs
from tests.hamiltonian.conftest import MODELS

TRANSLATION = {
    "hogn",
    "lieconv T(2)",
    "hlieconv T(2)",
    "hlieconv SO(2) centred",
    "hlieconv SE(2)",
    "hlieconv SE(2) framed",
    "invariant",
}
UP = TRANSLATION | {"lieconv T(1)y", "hlieconv T(1)y"}
ROTATION = {
    "hlieconv SO(2)",
    "hlieconv SO(2) centred",
    "hlieconv SE(2) framed",
    "hlieconv R*xSO(2)",
    "invariant",
}
SCALING = {"hlieconv R*", "hlieconv R*xSO(2)", "hlieconv R*xSQ"}
EXCHANGE = set(MODELS) - {"fc", "h-fc"}
HAMILTONIAN = {name for name in MODELS if name not in {"fc", "ogn"} and name[:7] != "lieconv"}
ROUNDING = 1e-10

EVERY = pytest.mark.parametrize("name", MODELS)


def turn(angle: float) -> torch.Tensor:
    return torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )


def defect(model, state, systems, moved, moved_systems, back) -> float:
    """How far F(g z) is from g F(z), relative to F."""
    with torch.no_grad():
        expected = model(state, systems)
        return float((back(model(moved, moved_systems)) - expected).norm() / expected.norm())


@EVERY
def test_translation(name, springs, small_model):
    state, systems = springs
    moved = state + torch.tensor([[0.7, -0.4], [0.0, 0.0]], dtype=torch.float64)[:, None]
    found = defect(small_model(name), state, systems, moved, systems, lambda f: f)
    assert (found < ROUNDING) == (name in TRANSLATION), found


@EVERY
def test_translation_upwards(name, springs, small_model):
    state, systems = springs
    moved = state + torch.tensor([[0.0, -0.4], [0.0, 0.0]], dtype=torch.float64)[:, None]
    found = defect(small_model(name), state, systems, moved, systems, lambda f: f)
    assert (found < ROUNDING) == (name in UP), found
    with torch.no_grad():
        pushes = small_model(name)(state, systems)[:, 1, :, 1]
    is_balanced = float(pushes.sum(1).abs().max() / pushes.abs().max()) < ROUNDING
    assert is_balanced == (name in UP & HAMILTONIAN)


@pytest.mark.parametrize(
    ("factors", "names"),
    [((1.3, 1.3), SCALING), ((1.3, 1.0 / 1.3), {"hlieconv R*xSQ"})],
    ids=["scaling", "squeeze"],
)
@pytest.mark.parametrize("name", sorted(name for name in MODELS if name[:8] == "hlieconv"))
def test_scaling_and_squeezing(name, factors, names, springs, small_model):
    """V is what it was, so forces shrink as positions grow."""
    (state, systems), model = springs, small_model(name)
    factor = torch.tensor(factors, dtype=torch.float64)
    q = state[:, 0]
    with torch.no_grad():
        values = model.potential(q, systems), model.potential(q * factor, systems)
    found = float((values[0] - values[1]).norm() / values[0].norm())
    assert (found < ROUNDING) == (name in names), found


@EVERY
def test_rotation(name, springs, small_model):
    state, systems = springs
    R = turn(0.8)
    found = defect(small_model(name), state, systems, state @ R.T, systems, lambda f: f @ R)
    assert (found < ROUNDING) == (name in ROTATION), found


def test_se2_is_exact_where_the_lifts_turn_along(springs, small_model):
    state, systems = springs
    R = turn(0.8)
    turned = systems._replace(angles=systems.angles + 0.8)
    assert (
        defect(small_model("hlieconv SE(2)"), state, systems, state @ R.T, turned, lambda f: f @ R)
        < ROUNDING
    )


@EVERY
def test_exchange_of_particles(name, springs, small_model):
    state, systems = springs
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = type(systems)(
        systems.masses[:, order], systems.features[:, order], systems.angles[:, order]
    )
    found = defect(
        small_model(name),
        state,
        systems,
        state[:, :, order],
        moved,
        lambda f: f[:, :, order.argsort()],
    )
    assert (found < ROUNDING) == (name in EXCHANGE), found


@EVERY
def test_momenta_along_a_rollout(name, springs, small_model):
    """Linear momentum is linear in the state, so any Runge-Kutta scheme keeps it to rounding.

    Angular momentum to the error of the steps.
    """
    state, systems = springs
    model = small_model(name)
    with torch.no_grad():
        states = rk4(
            lambda z: model(z, systems), state, torch.arange(11, dtype=torch.float64) * 0.05, 2
        )
    linear, angular = (
        (m(states)[:, -1] - m(states)[:, 0]).abs().max()
        for m in (linear_momentum, angular_momentum)
    )
    assert (float(linear) < 1e-12) == (name in TRANSLATION & HAMILTONIAN), linear
    assert (float(angular) < 1e-8) == (name in ROTATION & HAMILTONIAN), angular


@pytest.mark.parametrize("name", sorted(HAMILTONIAN))
def test_field_is_the_symplectic_gradient(name, springs, small_model):
    """Against central differences of H."""
    state, systems = springs
    model = small_model(name)
    assert isinstance(model, HamiltonianModel)
    step = torch.randn(state.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    up, down = (model.energy(state + sign * 1e-5 * step, systems) for sign in (1.0, -1.0))
    with torch.no_grad():
        f = model(state, systems)
    gradient = torch.stack((-f[:, 1], f[:, 0]), dim=1)
    torch.testing.assert_close(
        (gradient * step).sum((1, 2, 3)), (up - down).detach() / 2e-5, rtol=1e-6, atol=1e-8
    )


@EVERY
def test_loss_through_the_integrator_reaches_every_weight_that_forces_depend_on(
    name, springs, small_model
):
    """The gradient of the loss by the weights, against a difference quotient along itself."""
    state, systems = springs
    model, times = small_model(name), torch.arange(3, dtype=torch.float64) * 0.1

    def loss() -> torch.Tensor:
        return (rk4(lambda z: model(z, systems), state, times) - 0.5).square().mean()

    weights = list(model.parameters())
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    slope = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    assert slope > 0.0
    values = []
    for step in (1e-3, -2e-3):
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.add_(
                    torch.zeros_like(weight) if gradient is None else gradient, alpha=step / slope
                )
        values.append(float(loss().detach()))
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("n_dimensions", [1, 3, 4])
def test_invariant_potential_in_any_dimension(small_model, n_dimensions):
    generator = torch.Generator().manual_seed(4)
    model = small_model("invariant", n_dimensions)
    _, systems = sample_springs(2, 5, generator)
    q = torch.randn(2, 5, n_dimensions, dtype=torch.float64, generator=generator)
    R = torch.linalg.qr(
        torch.randn(n_dimensions, n_dimensions, dtype=torch.float64, generator=generator)
    )[0]
    reflection = torch.diag(torch.tensor([-1.0] + [1.0] * (n_dimensions - 1), dtype=torch.float64))
    for Q in (R, R @ reflection):
        torch.testing.assert_close(
            model.potential(q @ Q.T + 3.0, systems),
            model.potential(q, systems),
            rtol=1e-11,
            atol=1e-12,
        )


@pytest.mark.parametrize("kind", RECIPES)
def test_models_for_the_plane_refuse_space(kind):
    shape = Shape(5, 3, 2, 8, 1)
    if RECIPES[kind].is_lifted:
        with pytest.raises(UserError, match="two dimensions, the data have 3"):
            make_dynamics(kind, shape)
    else:
        assert make_dynamics(kind, shape) is not None


def test_logarithm_of_se2_against_the_matrix_exponential():
    """Also where two lifts have the same angle, and nearly so."""
    q = torch.tensor([[[0.3, -0.2], [1.0, 0.5], [-0.7, 0.1], [0.2, 0.9]]], dtype=torch.float64)
    angles = torch.tensor([[0.4, 0.4, 0.4 + 1e-5, 5.9]], dtype=torch.float64)
    logs = LiftedNetwork(Lifting("SE(2)"), 1, 1, 4, 1).lift(q, angles).coordinates[0]

    def element(k: int) -> torch.Tensor:
        matrix = torch.eye(3, dtype=torch.float64)
        matrix[:2, :2], matrix[:2, 2] = turn(float(angles[0, k])), q[0, k]
        return matrix

    for i in range(4):
        for j in range(4):
            t, x, y = logs[i, j].tolist()
            generator = torch.tensor(
                [[0.0, -t, x], [t, 0.0, y], [0.0, 0.0, 0.0]], dtype=torch.float64
            )
            torch.testing.assert_close(
                torch.matrix_exp(generator),
                torch.linalg.inv(element(j)) @ element(i),
                atol=1e-9,
                rtol=1e-9,
            )


def test_logarithm_of_so2_is_the_turn_from_one_point_to_the_other():
    q = torch.tensor([[[2.0, 0.0], [0.0, 0.5]]], dtype=torch.float64)
    pairs = LiftedNetwork(Lifting("SO(2)"), 1, 1, 4, 1).lift(q, torch.zeros(1, 2)).coordinates[0]
    torch.testing.assert_close(
        pairs[1, 0], torch.tensor([math.pi / 2, 0.5, 2.0], dtype=torch.float64)
    )
    torch.testing.assert_close(
        pairs[0, 1], torch.tensor([-math.pi / 2, 2.0, 0.5], dtype=torch.float64)
    )


def test_reordered_convolution_equals_the_one_with_a_kernel_for_every_pair():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = LieConv(6, 6, 3, norm=Unnormalised).double()
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(2, 5, 5, 3, dtype=torch.float64, generator=generator)
    f = torch.randn(2, 5, 6, dtype=torch.float64, generator=generator)
    kernels = torch.einsum(
        "osc,bijs->bijoc", layer.mix.weight.unflatten(1, (-1, 6)), layer.kernel(a)
    )
    expected = torch.einsum("bijoc,bjc->bio", kernels, f) / 5 + layer.mix.bias
    cloud = Cloud(a, torch.zeros(2, 5, 5), torch.ones(2, 5, dtype=torch.bool))
    torch.testing.assert_close(layer(cloud, f), expected)
