"""Small labelled structures with an exact law behind them, and tiny settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.properties import PROPERTIES
from molequi.training.config import Config, make_config


@pytest.fixture(scope="module", autouse=True)
def figures(undrawn):
    """Draw none, but in modules that have a fixture of this name of their own."""


# Reference energies, pair strengths and charges of the toy chemistry, by atomic number.
ATOMS = {1: -13.0, 6: -1030.0, 8: -2040.0}
_CHARGE = {1: 0.2, 6: 0.1, 8: -0.5}


def _toy_frames(
    n_frames: int,
    *,
    seed: int = 0,
    molecules: tuple[tuple[int, ...], ...] = ((6, 8, 1, 1), (8, 1, 1), (6, 1, 1, 1, 8, 1)),
) -> Frames:
    """Structures of H, C and O with energies, forces and dipoles of a smooth pair law."""
    generator = torch.Generator().manual_seed(seed)
    numbers = [molecules[k % len(molecules)] for k in range(n_frames)]
    counts = torch.tensor([len(molecule) for molecule in numbers])
    positions = torch.cat([_places(len(molecule), generator) for molecule in numbers])
    flat = torch.tensor([z for molecule in numbers for z in molecule])
    batch = torch.repeat_interleave(torch.arange(n_frames), counts)
    energy, forces = _energies(positions, flat, batch, n_frames)
    charges = torch.tensor([_CHARGE[int(z)] for z in flat], dtype=torch.float64)
    mean = torch.zeros(n_frames, dtype=torch.float64).index_add(0, batch, charges) / counts
    charges = charges - mean[batch]
    dipole = torch.zeros(n_frames, 3, dtype=torch.float64).index_add(
        0, batch, charges[:, None] * positions
    )
    targets = {"energy": energy, "forces": forces, "dipole": dipole}
    return make_frames(
        positions,
        flat,
        counts,
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
    )


def _toy_config(**sections: dict) -> Config:
    """A tiny network on energies and forces for a few epochs.

    `sections` add to the config's groups.
    """
    data = {
        "kind": "npz",
        "path": "toy.npz",
        "targets": ["energy", "forces"],
        **sections.pop("data", {}),
    }
    model = {
        "preset": "small",
        "cutoff": 4.0,
        "n_layers": 1,
        "n_channels": 4,
        "l_max": 1,
        **sections.pop("model", {}),
    }
    training = {
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "warmup_steps": 2,
        "weights": {"forces": 10.0},
        "device": "cpu",
        **sections.pop("training", {}),
    }
    return make_config(
        {"name": "toy", "data": data, "model": model, "training": training, **sections}
    )


def _toy_splits(n_train: int, n_valid: int, n_test: int) -> dict[str, torch.Tensor]:
    """The first rows train, the next validate, the rest tests."""
    order = torch.arange(n_train + n_valid + n_test)
    return dict(
        zip(("train", "valid", "test"), order.split([n_train, n_valid, n_test]), strict=True)
    )


@pytest.fixture(scope="session")
def toy_frames() -> Callable[..., Frames]:
    return _toy_frames


@pytest.fixture(scope="session")
def toy_config() -> Callable[..., Config]:
    return _toy_config


@pytest.fixture(scope="session")
def toy_splits() -> Callable[..., dict[str, torch.Tensor]]:
    return _toy_splits


def _places(n_atoms: int, generator: torch.Generator) -> torch.Tensor:
    corners = torch.tensor(
        [[0, 0, 0], [1.2, 0, 0], [0, 1.2, 0], [0, 0, 1.2], [1.2, 1.2, 0], [1.2, 0, 1.2]],
        dtype=torch.float64,
    )
    return corners[:n_atoms] + 0.2 * torch.randn(
        n_atoms, 3, generator=generator, dtype=torch.float64
    )


def _energies(
    positions: torch.Tensor, numbers: torch.Tensor, batch: torch.Tensor, n_frames: int
) -> tuple[torch.Tensor, torch.Tensor]:
    positions = positions.clone().requires_grad_(True)
    first, second = torch.nonzero(
        torch.triu(batch[:, None] == batch[None, :], diagonal=1), as_tuple=True
    )
    distances = (positions[first] - positions[second]).norm(dim=1)
    strength = 0.3 + 0.02 * (numbers[first] + numbers[second])
    pairs = strength * ((distances - 1.4).square() - 1.0) * torch.exp(-(distances.square()) / 4.0)
    interaction = torch.zeros(n_frames, dtype=torch.float64).index_add(0, batch[first], pairs)
    atoms = torch.tensor([ATOMS[int(z)] for z in numbers], dtype=torch.float64)
    forces = -torch.autograd.grad(interaction.sum(), positions)[0]
    return (
        interaction + torch.zeros(n_frames, dtype=torch.float64).index_add(0, batch, atoms)
    ).detach(), forces
