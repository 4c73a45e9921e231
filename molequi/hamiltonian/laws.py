"""Which laws a model of dynamics keeps, measured on states that it has not seen.

What the model gives is F(z) = (dq/dt, dp/dt) of a state z = (q, p).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from molequi.diagnostics.limits import Measurement
from molequi.hamiltonian.mechanics import HamiltonianModel, Segments, Systems

# In float64, of what holds to rounding.
_LIMIT = 1e-9
_N_STATES = 50
_DESCRIPTIONS = {
    "translation": "F(q + a, p) - F(q, p), per size of F",
    "rotation": "F(R q, R p) - R F(q, p), per size of F",
    "inversion": "F(M q, M p) - M F(q, p) with a mirror M, per size of F",
    "permutation": "F of particles in another order - F in that order, per size of F",
    "time_reversal": "(-dq/dt, dp/dt) of (q, p) - (dq/dt, dp/dt) of (q, -p), per size of F",
    "linear_momentum": "sum of the forces, per sum of their sizes",
    "angular_momentum": "rate of the angular momentum, per sum of the sizes of its parts",
    "energy": "rate of the model's own energy, per product of the sizes of its gradient and F",
}


def measure_laws(model: nn.Module, segments: Segments) -> dict[str, Measurement]:
    """Measure every law on first states; one that the model was not made for exceeds its limit.

    model: in float64. `energy` is there where it has one.
    """
    some = segments.pick(torch.arange(min(segments.n_systems, _N_STATES)))
    state, systems = some.states[:, 0], some.systems
    found = {**_symmetries(model, state, systems), **_momenta(model, state, systems)}
    if isinstance(model, HamiltonianModel):
        found["energy"] = _energy_rate(model, state, systems)
    where = f"{some.n_systems} states to test on"
    return {
        name: Measurement(value, _LIMIT, "1", _DESCRIPTIONS[name], where)
        for name, value in found.items()
    }


@torch.no_grad()
def _symmetries(model: nn.Module, state: Tensor, systems: Systems) -> dict[str, float]:
    n, d = state.shape[2:]
    generator = torch.Generator().manual_seed(0)
    rotation, mirror = _rotation(d), torch.eye(d, dtype=state.dtype)
    mirror[0, 0] = -1.0
    order = torch.randperm(n, generator=generator)
    mixed = Systems(*(field[:, order] for field in systems))
    shift = torch.stack((torch.randn(d, generator=generator).to(state), state.new_zeros(d)))
    sign = state.new_tensor([1.0, -1.0])[:, None, None]

    def defect(moved: Tensor, also: Systems, back: Callable[[Tensor], Tensor]) -> float:
        return float((back(model(moved, also)) - expected).norm() / expected.norm())

    expected = model(state, systems)
    return {
        "translation": defect(state + shift[:, None], systems, lambda f: f),
        "rotation": defect(state @ rotation.T, systems, lambda f: f @ rotation),
        "inversion": defect(state @ mirror, systems, lambda f: f @ mirror),
        "permutation": defect(state[:, :, order], mixed, lambda f: f[:, :, order.argsort()]),
        "time_reversal": defect(state * sign, systems, lambda f: -f * sign),
    }


@torch.no_grad()
def _momenta(model: nn.Module, state: Tensor, systems: Systems) -> dict[str, float]:
    velocities, forces = model(state, systems).unbind(1)
    q, p = state.unbind(1)
    a, b = torch.triu_indices(q.shape[-1], q.shape[-1], offset=1)

    def wedge(x: Tensor, y: Tensor) -> Tensor:
        return x[..., a] * y[..., b] - x[..., b] * y[..., a]

    # d/dt (q x p) = v x p + q x f, and v x p vanishes where p = m v alone.
    turns, twists = wedge(q, forces), wedge(velocities, p)
    rate = (turns + twists).sum(1)
    return {
        "linear_momentum": float(forces.sum(1).abs().sum() / forces.abs().sum()),
        "angular_momentum": float(rate.abs().sum() / (turns.abs() + twists.abs()).sum()),
    }


def _energy_rate(model: HamiltonianModel, state: Tensor, systems: Systems) -> float:
    with torch.no_grad():
        rates = model(state, systems)
    at = state.clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(model.energy(at, systems).sum(), at)
    rate = (gradient * rates).sum((1, 2, 3)).abs()
    return float((rate / (gradient.flatten(1).norm(dim=1) * rates.flatten(1).norm(dim=1))).max())


def _rotation(dimension: int) -> Tensor:
    """Return a rotation, (d, d): a turn by 1 in every plane of two axes that follow each other."""
    turn = torch.eye(dimension, dtype=torch.float64)
    for k in range(dimension - 1):
        plane = torch.eye(dimension, dtype=torch.float64)
        plane[k, k] = plane[k + 1, k + 1] = math.cos(1.0)
        plane[k + 1, k], plane[k, k + 1] = math.sin(1.0), -math.sin(1.0)
        turn = turn @ plane
    return turn
