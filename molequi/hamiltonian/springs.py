"""Particles joined by springs: the data of Finzi et al. (ICML 2020) and their Hamiltonian."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.hamiltonian.mechanics import N_TRANSITIONS, PotentialModel, Segments, Systems, join

# Systems that are integrated together: bounds the memory of long trajectories.
_CHUNK = 1000


class Springs(PotentialModel):
    """V = 1/2 sum over all ordered pairs of k_i k_j |q_i - q_j|^2.

    A pair counts twice, as in the published data. features: (mass, k).
    """

    def potential(self, positions: Tensor, systems: Systems) -> Tensor:
        """Return V of every system: (B,)."""
        k = systems.features[..., 1]
        square = (positions[:, :, None] - positions[:, None]).square().sum(-1)
        return 0.5 * torch.einsum("bi,bj,bij->b", k, k, square)

    def forward(self, state: Tensor, systems: Systems) -> Tensor:
        """Return velocities and forces -2 k_i sum_j k_j (q_i - q_j), in closed form."""
        k, q = systems.features[..., 1:2], state[:, 0]
        force = -2.0 * k * (q * k.sum(1, keepdim=True) - (k * q).sum(1, keepdim=True))
        return torch.stack((state[:, 1] / systems.masses[..., None], force), dim=1)


def sample_springs(
    n_systems: int, n_particles: int, generator: torch.Generator
) -> tuple[Tensor, Systems]:
    """Draw systems and first states (n_systems, 2, N, 2), float64.

    M ~ U(0.1, 3.1), k ~ U(0, 5), q ~ N(0, 0.16), p ~ N(0, 0.36) by component.
    """

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(
            n_systems, n_particles, dtype=torch.float64, generator=generator
        )

    masses, k = uniform(0.1, 3.1), uniform(0.0, 5.0)
    noise = torch.randn(n_systems, 2, n_particles, 2, dtype=torch.float64, generator=generator)
    state = noise * torch.tensor([0.4, 0.6], dtype=torch.float64)[:, None, None]
    return state, Systems(masses, torch.stack((masses, k), dim=-1), torch.zeros_like(masses))


def make_trajectories(
    n_systems: int, n_particles: int, times: Tensor, generator: torch.Generator
) -> Segments:
    """Return the trajectories of random systems at `times`, which are equally spaced.

    The equations are linear, so one matrix exponential for each system advances it by a step, exact
    to rounding (published: RK4 to 1e-8).
    """
    state, systems = sample_springs(n_systems, n_particles, generator)
    k, zero = (
        systems.features[..., 1],
        torch.zeros(n_systems, n_particles, n_particles, dtype=torch.float64),
    )
    stiffness = 2.0 * (torch.diag_embed(k * k.sum(1, keepdim=True)) - k[:, :, None] * k[:, None])
    rates = torch.cat(
        (
            torch.cat((zero, torch.diag_embed(1.0 / systems.masses)), dim=2),
            torch.cat((-stiffness, zero), dim=2),
        ),
        dim=1,
    )
    step = torch.linalg.matrix_exp(rates * (times[1] - times[0]))
    flat = [state.flatten(1, 2)]
    for _ in range(len(times) - 1):
        flat.append(step @ flat[-1])
    return Segments(torch.stack(flat, dim=1).unflatten(2, (2, n_particles)), times, systems)


class Drawn(NamedTuple):
    """Pieces of trajectories, one of each, and some of the trajectories whole."""

    pieces: Segments
    whole: Segments


def make_segments(
    n_systems: int, n_whole: int, n_particles: int, times: Tensor, generator: torch.Generator
) -> Drawn:
    """Return a piece of each of `n_systems` trajectories, and the first `n_whole` of them whole."""
    pieces: list[Segments] = []
    whole: list[Segments] = []
    for start in range(0, n_systems, _CHUNK):
        trajectories = make_trajectories(
            min(_CHUNK, n_systems - start), n_particles, times, generator
        )
        pieces.append(draw_segments(trajectories, generator))
        whole.append(
            trajectories.pick(torch.arange(max(min(n_whole - start, trajectories.n_systems), 0)))
        )
    return Drawn(join(pieces), join(whole))


def draw_segments(trajectories: Segments, generator: torch.Generator) -> Segments:
    """Take 4 transitions from each trajectory.

    At random among the pieces of equal length that a cut gives.
    """
    length = N_TRANSITIONS + 1
    start = length * torch.randint(
        trajectories.states.shape[1] // length, (trajectories.n_systems,), generator=generator
    )
    rows = torch.arange(trajectories.n_systems)[:, None]
    states = trajectories.states[rows, start[:, None] + torch.arange(length)]
    return Segments(states, trajectories.times[:length], trajectories.systems)
