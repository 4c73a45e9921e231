"""A few systems of springs, and small models of every kind."""

from __future__ import annotations

import pytest
import torch

from molequi.hamiltonian.mechanics import Systems, draw_angles
from molequi.hamiltonian.models import Shape, make_dynamics
from molequi.hamiltonian.springs import sample_springs


@pytest.fixture
def springs() -> tuple[torch.Tensor, Systems]:
    """Three systems of five particles: first states and what is constant."""
    generator = torch.Generator().manual_seed(1)
    state, systems = sample_springs(3, 5, generator)
    return state, draw_angles(systems, generator)


@pytest.fixture
def small_model():
    """Return a function from a kind to a small float64 model for five particles in the plane."""

    def make(kind: str, n_dimensions: int = 2) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make_dynamics(kind, Shape(5, n_dimensions, 2, 16, 2)).double()

    return make
