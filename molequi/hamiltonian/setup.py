"""The untrained model of a config of dynamics."""

from __future__ import annotations

import torch
from torch import nn

from molequi.hamiltonian.config import DynamicsConfig, MoleculeSettings
from molequi.hamiltonian.data import DynamicsData
from molequi.hamiltonian.models import RECIPES, Shape, make_dynamics
from molequi.hamiltonian.potential import LEARNING_RATE, make_potential
from molequi.nn.backbones.registry import BACKBONES
from molequi.runtime.device import as_device, as_dtype


def build(config: DynamicsConfig, data: DynamicsData) -> nn.Module:
    """Return the untrained model of a config; its weights follow from the seed."""
    model = _build_potential(config, data) if _is_backbone(config) else _build_network(config, data)
    return model.to(as_device(config.training.device), as_dtype(config.training.dtype))


def learning_rate(config: DynamicsConfig) -> float:
    """Return the learning rate of a config: its own, or the published one of its model."""
    if config.training.learning_rate is not None:
        return config.training.learning_rate
    return LEARNING_RATE if _is_backbone(config) else RECIPES[config.model.kind].learning_rate


def _is_backbone(config: DynamicsConfig) -> bool:
    """Whether the model is a network of atoms; `lieconv` of springs is another one."""
    return isinstance(config.data, MoleculeSettings) and config.model.kind in BACKBONES


def _build_potential(config: DynamicsConfig, data: DynamicsData) -> nn.Module:
    if data.molecule is None:
        raise TypeError("a backbone learns from a molecule, and these data have none")
    return make_potential(
        config.model.kind,
        config.model.overrides(),
        data.molecule,
        data.train,
        config.training.seed,
    )


def _build_network(config: DynamicsConfig, data: DynamicsData) -> nn.Module:
    settings, recipe = config.model, RECIPES[config.model.kind]
    states, features = data.train.states, data.train.systems.features
    shape = Shape(
        n_particles=states.shape[3],
        n_dimensions=states.shape[4],
        n_features=features.shape[2],
        width=settings.width or recipe.width,
        n_layers=settings.n_layers or recipe.n_layers,
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.training.seed)
        return make_dynamics(settings.kind, shape, settings.lifting)
