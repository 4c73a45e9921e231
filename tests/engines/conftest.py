"""Networks that the engines' tests share."""

import pytest
import torch

from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.models.physics import Physics
from molequi.nn.physics import dispersion_parameters


@pytest.fixture(scope="session")
def long_ranged():
    """Return a small network, float64, with all that `organic` has beside what is learned."""
    physics = Physics("equilibrated", "damped", dispersion_parameters("wb97m"), "wb97m")
    return make_model(
        [1, 6, 7, 8],
        ["energy", "forces", "dipole", "charges"],
        n_layers=1,
        n_channels=4,
        physics=physics,
        metadata=ModelMetadata(name="random", charge_multiplicity=((0, 1), (-1, 1), (1, 1))),
    ).to(torch.float64)


@pytest.fixture
def damaged(network):
    """Return the small network, frozen, whose forces are no numbers."""
    frozen = network.freeze()
    compute = frozen.compute
    frozen.compute = lambda *args, **options: {
        **(found := compute(*args, **options)),
        "forces": found["forces"] * torch.nan,
    }
    return frozen
