"""A healthy model, and what failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molequi.diagnostics.limits import Measurement
from molequi.graphs.graph import collate
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes
from molequi.nn.linear import Perceptron
from molequi.properties import Property

ORGANIC = (1, 6, 7, 8)


def names_of_failed(measurements: dict[str, Measurement]) -> set[str]:
    return {name for name, measurement in measurements.items() if not measurement.ok}


def make(
    seed: int,
    dtype: torch.dtype,
    *,
    properties: tuple[str | Property, ...] = ("energy", "dipole"),
    elements: tuple[int, ...] = ORGANIC,
    **settings,
) -> MolecularModel:
    """A random model as training leaves it.

    Biases are not zero, messages have unit variance, energies have a scale and references.
    """
    model = make_model(elements, properties, seed=seed, **{"n_channels": 6, "l_max": 1, **settings})
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, Perceptron):
                for bias in module.biases:
                    bias.copy_(0.3 * torch.randn(bias.shape, generator=generator))
    model.backbone.calibrate(
        collate([probe.graph(model.cutoff) for probe in built_in_probes(elements)])
    )
    if "energy" in properties:
        model.heads["energy"].set_statistics(
            2.5, -4.0, -300.0 * torch.arange(119, dtype=torch.float64)
        )
    return model.to(dtype)


@pytest.fixture
def failed() -> Callable[[dict[str, Measurement]], set[str]]:
    """Return the function from measurements to the names of the failed ones."""
    return names_of_failed


@pytest.fixture
def model_with_biases() -> Callable[..., MolecularModel]:
    """Return the function that makes a random model as training leaves it."""
    return make
