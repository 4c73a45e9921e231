"""The total charge as a target: what the atoms of a model claim of it must add up to it."""

from __future__ import annotations

import dataclasses

import torch

from molequi.datasets.in_memory import Frames
from molequi.models.checkpoint import read_description
from molequi.models.physics import Physics
from molequi.models.zoo import resolve_model
from molequi.properties import PROPERTIES
from molequi.training.config import Config

LOCAL_CHARGE = "local_charge"


def with_total_charge(config: Config, frames: Frames) -> tuple[Config, Frames]:
    """Return a config and structures with one target more where charges are equilibrated.

    Every structure has its label, the total charge. The weight of the target is
    `training.weights.local_charge`, in units of 1 e.
    """
    if not _is_equilibrated(config) or LOCAL_CHARGE in frames.targets:
        return config, frames
    data = config.data.model_copy(update={"targets": (*config.data.targets, LOCAL_CHARGE)})
    labels = frames.total_charge.to(torch.float64)
    return config.model_copy(update={"data": data}), dataclasses.replace(
        frames,
        targets={**frames.targets, LOCAL_CHARGE: labels},
        properties={**frames.properties, LOCAL_CHARGE: PROPERTIES[LOCAL_CHARGE]},
    )


def _is_equilibrated(config: Config) -> bool:
    """Whether the model that is trained, new or not, makes its own charges."""
    if config.init is None:
        return config.model.physics().is_equilibrated
    description = read_description(resolve_model(config.init))
    return Physics.from_json(description.get("physics", {})).is_equilibrated
