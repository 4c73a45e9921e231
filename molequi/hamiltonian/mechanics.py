"""Hamiltonian dynamics: states, the flow of a Hamiltonian, integration, conserved quantities.

Everything is differentiable. A state is (B, 2, N, d): positions q and momenta p of N particles in d
dimensions, of B systems.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.errors import NotConvergedError

Field = Callable[[Tensor], Tensor]

# Transitions of a training segment, as published.
N_TRANSITIONS = 4
# Derivatives that a step of the integrator takes.
N_STAGES = 4
_MAX_SUBSTEPS = 2**12


class Systems(NamedTuple):
    """What does not change in time.

    masses: (B, N). features: (B, N, c), invariant. angles: (B, N), the turn with which a particle
    is lifted to SE(2); other models ignore it.
    """

    masses: Tensor
    features: Tensor
    angles: Tensor

    def pick(self, indices: Tensor) -> Systems:
        """Return the systems `indices`."""
        return Systems(*(field[indices] for field in self))

    def like(self, tensor: Tensor) -> Systems:
        """Return the systems in the dtype and on the device of a tensor."""
        return Systems(*(field.to(tensor) for field in self))


class Segments(NamedTuple):
    """Pieces of trajectories, one for each system.

    States (B, T, 2, N, d) at `times` (T,), counted from the first.
    """

    states: Tensor
    times: Tensor
    systems: Systems

    def pick(self, indices: Tensor) -> Segments:
        """Return the segments `indices`."""
        return Segments(self.states[indices], self.times, self.systems.pick(indices))

    def like(self, tensor: Tensor) -> Segments:
        """Return the segments in the dtype and on the device of a tensor; times stay float64."""
        return Segments(self.states.to(tensor), self.times, self.systems.like(tensor))

    @property
    def n_systems(self) -> int:
        """How many segments there are."""
        return self.states.shape[0]


def join(parts: Sequence[Segments]) -> Segments:
    """Return the segments of all parts, which share their times, one after the other."""
    fields = zip(*(part.systems for part in parts), strict=True)
    return Segments(
        torch.cat([part.states for part in parts]),
        parts[0].times,
        Systems(*(torch.cat(field) for field in fields)),
    )


def draw_angles(systems: Systems, generator: torch.Generator) -> Systems:
    """Lift every particle anew, uniformly."""
    angles = (
        2.0 * torch.pi * torch.rand(systems.masses.shape, generator=generator, dtype=torch.float64)
    )
    return systems._replace(angles=angles.to(systems.masses))


class HamiltonianModel(nn.Module):
    """dq/dt = dH/dp, dp/dt = -dH/dq; H (B,) is `energy(state, systems)`."""

    def energy(self, state: Tensor, systems: Systems) -> Tensor:
        """Return H of every system: (B,)."""
        raise NotImplementedError

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return the time derivative of the state, differentiable where gradients are enabled."""
        gradient = _gradient(lambda z: self.energy(z, systems), state)
        return torch.stack((gradient[:, 1], -gradient[:, 0]), dim=1)


class PotentialModel(HamiltonianModel):
    """H = sum p^2 / 2m + V(q): V, `potential(positions, systems)`, is learned, masses are known."""

    def potential(self, positions: Tensor, systems: Systems) -> Tensor:
        """Return V of every system: (B,)."""
        raise NotImplementedError

    def energy(self, state: Tensor, systems: Systems) -> Tensor:
        """Return H of every system: (B,)."""
        return kinetic_energy(state, systems) + self.potential(state[:, 0], systems)

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return velocities and forces: one derivative less than of a general H."""
        force = -_gradient(lambda q: self.potential(q, systems), state[:, 0])
        return torch.stack((state[:, 1] / systems.masses[..., None], force), dim=1)


def _gradient(energy: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        at = at if create_graph and at.requires_grad else at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(at).sum(), at, create_graph=create_graph)
    return gradient


def rk4(field: Field, state: Tensor, times: Tensor, n_substeps: int = 1) -> Tensor:
    """Integrate a time-independent field by the classical Runge-Kutta scheme of fourth order.

    Differentiable through every step.

    times: (T,), the first is that of `state`; between two of them lie `n_substeps` equal steps.
    Returns (B, T, 2, N, d).
    """
    states = [state]
    for step in (times.diff() / n_substeps).tolist():
        for _ in range(n_substeps):
            a = field(state)
            b = field(state + 0.5 * step * a)
            c = field(state + 0.5 * step * b)
            d = field(state + step * c)
            state = state + step / 6.0 * (a + 2.0 * b + 2.0 * c + d)
        states.append(state)
    return torch.stack(states, dim=1)


def integrate(
    field: Field, state: Tensor, times: Tensor, tolerance: float, *, n_substeps: int = 1
) -> Tensor:
    """Halve the steps of `rk4` until the trajectory changes by less than `tolerance`.

    In the norm, relative to the norm of each system's states. The difference of two runs is 16
    times the error of the finer one, so the error is well below `tolerance`. Raises
    NotConvergedError where thousands of steps between two times do not reach it.
    """
    coarse = rk4(field, state, times, n_substeps)
    while n_substeps < _MAX_SUBSTEPS:
        n_substeps *= 2
        fine = rk4(field, state, times, n_substeps)
        change, size = (x.flatten(2).norm(dim=2) for x in (fine - coarse, fine))
        # A system at rest at the origin has neither.
        if bool(((change < tolerance * size) | (change == 0.0)).all()):
            return fine
        if not bool(torch.isfinite(fine).all()) and n_substeps >= 64:
            break
        coarse = fine
    raise NotConvergedError(
        f"the trajectory did not converge to {tolerance:g} with {n_substeps} steps between two "
        "times; shorten it or loosen the tolerance"
    )


def kinetic_energy(state: Tensor, systems: Systems) -> Tensor:
    """Return sum p^2 / 2m: (B,)."""
    return 0.5 * (state[:, 1].square().sum(-1) / systems.masses).sum(-1)


def linear_momentum(state: Tensor) -> Tensor:
    """Return the sum of p of states (..., 2, N, d): (..., d)."""
    return state[..., 1, :, :].sum(-2)


def angular_momentum(state: Tensor) -> Tensor:
    """Return the components a < b of the sum of q_a p_b - q_b p_a.

    Of states (..., 2, N, d): (..., d (d - 1) / 2).
    """
    q, p = state[..., 0, :, :], state[..., 1, :, :]
    a, b = torch.triu_indices(q.shape[-1], q.shape[-1], offset=1, device=q.device)
    return (q[..., a] * p[..., b] - q[..., b] * p[..., a]).sum(-2)
