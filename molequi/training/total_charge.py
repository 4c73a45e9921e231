"""The total charge as a target: what the atoms of a model claim of it must add up to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from molequi.datasets.in_memory import Frames
from molequi.models.checkpoint import read_description
from molequi.models.physics import Physics
from molequi.models.zoo import resolve_model
from molequi.properties import PROPERTIES
from molequi.training.config import Config
from molequi.training.settings import TrainingSettings

LOCAL_CHARGE = "local_charge"
# Of these the charges of a model are part, or give a part.
_OF_CHARGES = {"energy", "forces", "stress", "charges", "dipole", "dipole_magnitude"}


def needs_charges(names: Iterable[str]) -> bool:
    """Tell whether the charges of a model matter for targets or outputs of these names."""
    return not _OF_CHARGES.isdisjoint(names)


def with_total_charge(config: Config, frames: Frames) -> tuple[Config, Frames]:
    """Return a config and structures with one target more where charges are equilibrated.

    Every structure has its label, the total charge. The weight of the target is
    `training.weights.local_charge`; where that is not set, the largest of the others: the loss of
    whole charges that are right is zero, and until then nothing should drown it.
    """
    if not _is_equilibrated(config) or LOCAL_CHARGE in frames.targets:
        return config, frames
    data = config.data.model_copy(update={"targets": (*config.data.targets, LOCAL_CHARGE)})
    training = config.training.model_copy(update=_weights(config.training))
    labels = frames.total_charge.to(torch.float64)
    return config.model_copy(update={"data": data, "training": training}), dataclasses.replace(
        frames,
        targets={**frames.targets, LOCAL_CHARGE: labels},
        properties={**frames.properties, LOCAL_CHARGE: PROPERTIES[LOCAL_CHARGE]},
    )


def _weights(settings: TrainingSettings) -> dict[str, Any]:
    """Return the weights of both stages with one for the total charge."""
    complete: dict[str, Any] = {"weights": _complete(settings.weights)}
    if settings.second_stage is not None:
        update = {"weights": _complete(settings.second_stage.weights)}
        complete["second_stage"] = settings.second_stage.model_copy(update=update)
    return complete


def _complete(weights: Mapping[str, float]) -> dict[str, float]:
    return {LOCAL_CHARGE: max([1.0, *weights.values()]), **weights}


def _is_equilibrated(config: Config) -> bool:
    """Whether the model that is trained, new or not, makes its own charges."""
    if config.init is None:
        return config.model.physics().is_equilibrated
    if not needs_charges(config.data.targets):
        return False
    description = read_description(resolve_model(config.init))
    return Physics.from_json(description.get("physics", {})).is_equilibrated
