"""Integration, the generator of springs, conserved quantities.

SciPy and closed forms are the oracles.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from molequi.errors import NotConvergedError
from molequi.hamiltonian.config import make_dynamics_config
from molequi.hamiltonian.data import make_data
from molequi.hamiltonian.mechanics import (
    Segments,
    angular_momentum,
    integrate,
    kinetic_energy,
    linear_momentum,
    rk4,
)
from molequi.hamiltonian.springs import (
    Springs,
    draw_segments,
    make_segments,
    make_trajectories,
    sample_springs,
)

TIMES = torch.arange(21, dtype=torch.float64) * 0.05


def test_trajectories_agree_with_scipy_and_with_rk4_to_tolerance():
    made = make_trajectories(2, 4, TIMES, torch.Generator().manual_seed(0))
    m, k = made.systems.masses[0].numpy(), made.systems.features[0, :, 1].numpy()

    def equations(_t: float, flat: np.ndarray) -> np.ndarray:
        q, p = flat.reshape(2, 4, 2)
        force = -2.0 * (k[:, None] * k)[..., None] * (q[:, None] - q)
        return np.stack((p / m[:, None], force.sum(1))).ravel()

    solution = solve_ivp(
        equations,
        (0.0, 1.0),
        made.states[0, 0].numpy().ravel(),
        method="DOP853",
        t_eval=TIMES.numpy(),
        rtol=1e-11,
        atol=1e-12,
    )
    np.testing.assert_allclose(made.states[0].numpy().reshape(21, -1), solution.y.T, atol=1e-8)
    model = Springs()
    own = integrate(lambda z: model(z, made.systems), made.states[:, 0], TIMES, 1e-8)
    assert float((own - made.states).norm() / made.states.norm()) < 1e-8


def test_rk4_is_of_fourth_order_and_differentiable():
    """The oscillator q' = p, p' = -w q: the error of exp falls 16-fold when steps are halved.

    D/dw against the closed form.
    """
    start, w = (
        torch.tensor([[[[1.0]], [[0.0]]]], dtype=torch.float64),
        torch.tensor(2.0, dtype=torch.float64, requires_grad=True),
    )

    def field(z: torch.Tensor) -> torch.Tensor:
        return torch.stack((z[:, 1], -w * z[:, 0]), dim=1)

    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    errors = [
        abs(float(rk4(field, start, times, n)[0, 1, 0, 0, 0].detach()) - np.cos(np.sqrt(2.0)))
        for n in (8, 16)
    ]
    assert 14.0 < errors[0] / errors[1] < 18.0
    (gradient,) = torch.autograd.grad(rk4(field, start, times, 64)[0, 1, 0, 0, 0], w)
    assert float(gradient) == pytest.approx(-np.sin(np.sqrt(2.0)) / (2.0 * np.sqrt(2.0)), abs=1e-7)


def test_integrate_says_where_it_does_not_converge():
    state = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    with pytest.raises(NotConvergedError, match="did not converge to 1e-08"):
        integrate(lambda z: z.square(), state, torch.tensor([0.0, 2.0], dtype=torch.float64), 1e-8)


def test_a_system_at_rest_converges_beside_one_that_moves():
    state = torch.ones(2, 2, 1, 1, dtype=torch.float64)
    state[1] = 0.0
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    found = integrate(lambda z: -z, state, times, 1e-8)
    np.testing.assert_allclose(found[:, 1, 0, 0, 0], [np.exp(-1.0), 0.0], atol=1e-8)


def test_closed_form_of_the_spring_forces_is_the_gradient(springs):
    state, systems = springs
    model = Springs()
    torch.testing.assert_close(model(state, systems), super(Springs, model).forward(state, systems))


def test_draws_have_the_published_distributions():
    state, systems = sample_springs(4000, 6, torch.Generator().manual_seed(0))
    m, k = systems.masses, systems.features[..., 1]
    assert 0.1 <= float(m.min()) < 0.11
    assert 3.09 < float(m.max()) <= 3.1
    assert 0.0 <= float(k.min()) < 0.01
    assert 4.99 < float(k.max()) <= 5.0
    assert float(m.mean()) == pytest.approx(1.6, abs=0.02)
    assert float(state[:, 0].var()) == pytest.approx(0.16, rel=0.02)
    assert float(state[:, 1].var()) == pytest.approx(0.36, rel=0.02)


def test_segments_are_pieces_of_their_trajectories():
    generator = torch.Generator().manual_seed(0)
    whole = make_trajectories(6, 3, torch.arange(50, dtype=torch.float64) * 0.01, generator)
    pieces = draw_segments(whole, generator)
    assert pieces.states.shape == (6, 5, 2, 3, 2)
    for row in range(6):
        (start,) = (
            k
            for k in range(0, 50, 5)
            if torch.equal(whole.states[row, k : k + 5], pieces.states[row])
        )
        assert start % 5 == 0
    cut, first = make_segments(1003, 2, 3, whole.times, generator)
    assert (cut.n_systems, first.n_systems, first.states.shape[1]) == (1003, 2, 50)


def test_energy_and_momenta_of_the_true_dynamics_are_constant():
    made = make_trajectories(3, 4, TIMES, torch.Generator().manual_seed(2))
    model = Springs()
    energy = torch.stack([model.energy(z, made.systems) for z in made.states.unbind(1)], dim=1)
    for quantity in (
        energy[..., None],
        linear_momentum(made.states),
        angular_momentum(made.states),
    ):
        torch.testing.assert_close(
            quantity, quantity[:, :1].expand_as(quantity), atol=1e-10, rtol=1e-10
        )


def test_angular_momentum_is_the_cross_product():
    generator = torch.Generator().manual_seed(0)
    state = torch.randn(2, 2, 4, 3, dtype=torch.float64, generator=generator)
    x, y, z = torch.linalg.cross(state[:, 0], state[:, 1]).sum(1).unbind(-1)
    torch.testing.assert_close(angular_momentum(state), torch.stack((z, -y, x), dim=-1))
    _, systems = sample_springs(2, 4, generator)
    expected = sum(state[:, 1, i].square().sum(-1) / systems.masses[:, i] for i in range(4)) / 2.0
    torch.testing.assert_close(kinetic_energy(state, systems), expected)


def test_more_training_data_leave_validation_and_test_as_they_are():
    def data(**changes: int):
        return make_data(
            make_dynamics_config(
                {
                    "name": "a",
                    "data": {
                        "kind": "springs",
                        "train": 3,
                        "valid": 2,
                        "test": 2,
                        "n_steps": 120,
                        **changes,
                    },
                    "model": {"kind": "invariant"},
                }
            )
        )

    small, large = data(), data(train=5)
    for part in ("valid", "test", "rollouts"):
        assert torch.equal(getattr(small, part).states, getattr(large, part).states)
    assert large.train.n_systems == 5
    assert not torch.equal(data(seed=1).test.states, small.test.states)
    assert not any(torch.equal(a, b) for a in small.train.states for b in small.test.states)
    assert isinstance(small.rollouts, Segments)
    assert small.rollouts.states.shape[1] == 101
