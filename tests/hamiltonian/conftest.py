"""A few systems of springs, and small models of every kind."""

from __future__ import annotations

import pytest
import torch

from molequi.groups.lie_groups import GROUPS
from molequi.hamiltonian.lie_networks import SHIFTS, Lifting
from molequi.hamiltonian.mechanics import Systems, draw_angles
from molequi.hamiltonian.models import ANYWHERE, Shape, make_dynamics
from molequi.hamiltonian.springs import sample_springs

# Every model of springs, those that lift with every group of the plane: the kind, and how it lifts.
MODELS: dict[str, tuple[str, Lifting | None]] = {
    **{name: (name, None) for name in ANYWHERE},
    **{f"lieconv {group}": ("lieconv", Lifting(group)) for group in SHIFTS},
    **{f"hlieconv {group}": ("hlieconv", Lifting(group)) for group in GROUPS[2]},
    "hlieconv SO(2) centred": ("hlieconv", Lifting("SO(2)", is_centred=True)),
    "hlieconv SE(2) framed": ("hlieconv", Lifting("SE(2)", is_framed=True)),
}


@pytest.fixture
def drawn() -> None:
    """A test that asks for this has the figures of its trainings."""


@pytest.fixture(autouse=True)
def figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no others: they take longer than small trainings do."""
    if "drawn" not in request.fixturenames:
        for name in ("rollout_errors", "learning_curve"):
            monkeypatch.setattr(f"molequi.hamiltonian.train.{name}", lambda *_: None)


@pytest.fixture
def springs() -> tuple[torch.Tensor, Systems]:
    """Three systems of five particles: first states and what is constant."""
    generator = torch.Generator().manual_seed(1)
    state, systems = sample_springs(3, 5, generator)
    return state, draw_angles(systems, generator)


@pytest.fixture
def small_model():
    """Return a function from a name of `MODELS` to a small model, float64, of five particles."""

    def make(name: str, n_dimensions: int = 2) -> torch.nn.Module:
        kind, lifting = MODELS[name]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return make_dynamics(kind, Shape(5, n_dimensions, 2, 16, 2), lifting).double()

    return make
