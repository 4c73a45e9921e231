"""What `molequi check` measures of dynamics: what each model promises, and what breaks a law."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from molequi.hamiltonian.laws import measure_laws
from molequi.hamiltonian.mechanics import Segments
from molequi.hamiltonian.springs import Springs
from tests.hamiltonian.conftest import MODELS
from tests.hamiltonian.test_models import EXCHANGE, HAMILTONIAN, ROTATION, TRANSLATION

# Velocities are p / m, so that they alone turn back with p.
REVERSIBLE = HAMILTONIAN - {"h-fc", "hogn"}


@pytest.fixture
def segments(springs):
    state, systems = springs
    return Segments(state[:, None], torch.zeros(1, dtype=torch.float64), systems)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_keeps_what_it_promises_and_no_more(name, segments, small_model):
    found = {law: item.ok for law, item in measure_laws(small_model(name), segments).items()}
    assert found.pop("energy", None) == (True if name in HAMILTONIAN else None)
    assert found == {
        "translation": name in TRANSLATION,
        "rotation": name in ROTATION,
        "inversion": name == "invariant",
        "permutation": name in EXCHANGE,
        "time_reversal": name in REVERSIBLE,
        "linear_momentum": name in TRANSLATION & HAMILTONIAN,
        "angular_momentum": name in ROTATION & HAMILTONIAN,
    }


def test_the_true_springs_keep_every_law(segments):
    found = measure_laws(Springs(), segments)
    assert len(found) == 8
    assert all(item.ok for item in found.values()), found


class Rubbing(nn.Module):
    """Springs with friction, and with a field along x that pushes all the same way."""

    def __init__(self, friction: float, push: float) -> None:
        super().__init__()
        self.friction, self.push = friction, push

    def forward(self, state, systems):
        rates = Springs()(state, systems)
        rates[:, 1] -= self.friction * state[:, 1]
        rates[:, 1, :, 0] += self.push
        return rates


@pytest.mark.parametrize(
    ("friction", "push", "broken"),
    [
        (0.1, 0.0, {"time_reversal", "linear_momentum", "angular_momentum"}),
        (0.0, 0.1, {"rotation", "inversion", "linear_momentum", "angular_momentum"}),
    ],
)
def test_what_breaks_a_law_is_seen(friction, push, broken, segments):
    found = measure_laws(Rubbing(friction, push), segments)
    assert {law for law, item in found.items() if not item.ok} == broken
