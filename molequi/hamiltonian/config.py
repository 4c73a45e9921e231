"""Settings of an experiment with dynamics.

Data that are trajectories, a model of `hamiltonian.models`, training through the integrator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from molequi.errors import UserError
from molequi.hamiltonian.models import RECIPES
from molequi.models.settings import ArchitectureSettings
from molequi.nn.backbones.registry import BACKBONES
from molequi.settings import (
    Count,
    DeviceName,
    Positive,
    Seed,
    Settings,
    read_settings,
    validate,
)


class SpringSettings(Settings):
    """Random systems of springs; a piece of one trajectory each for training, validation and test.

    rollouts: so many test trajectories are followed for 100 steps. duration: in `n_steps` states.
    """

    kind: Literal["springs"]
    n_particles: int = Field(6, ge=2)
    train: Count = 3000
    valid: Count = 2000
    test: Count = 2000
    rollouts: Count = 200
    duration: Positive = 5.0
    n_steps: int = Field(500, ge=101)
    seed: Seed = 0


class MoleculeSettings(Settings):
    """One trajectory of a molecule under a model to train on, another one to test on.

    path: a file with one structure, or a bundled sample. teacher: the model. temperature: K, on
    average. timestep: fs between states.
    train, test: length of the two trajectories, ps; a tenth of the first validates.
    """

    paths: ClassVar = frozenset({"path"})

    kind: Literal["molecule"]
    path: str
    teacher: str = "organic"
    temperature: Positive = 300.0
    timestep: Positive = 0.5
    train: Positive = 1.0
    test: Positive = 1.0
    seed: Seed = 0


class NetworkSettings(Settings):
    """Which model: one of `hamiltonian.models.RECIPES`, null sizes being the published ones.

    For a molecule also one of `backbones.registry.BACKBONES`.

    width: channels, of a backbone too. backbone: preset, and what else a backbone takes.
    """

    kind: str
    width: Count | None = None
    n_layers: Count | None = None
    backbone: ArchitectureSettings = ArchitectureSettings()

    def overrides(self) -> dict[str, Any]:
        """Return the preset and the arguments of the backbone that are set."""
        sizes = {
            name: value
            for name, value in (("n_channels", self.width), ("n_layers", self.n_layers))
            if value is not None
        }
        return {"preset": self.backbone.preset, **self.backbone.overrides(), **sizes}


class OptimisationSettings(Settings):
    """Adam on the squared error of the integrated states, with a cosine schedule.

    epochs: null for the published 100 sqrt(1000 / D), D segments. learning_rate: null for the
    published one. patience: epochs without improvement before the run ends. substeps: steps of RK4
    between two states. dtype: of training; tests are in float64.
    """

    changeable: ClassVar = frozenset({"patience", "device"})

    epochs: Count | None = None
    batch_size: Count = 200
    learning_rate: Positive | None = None
    patience: Count | None = None
    substeps: Count = 1
    dtype: Literal["float32", "float64"] = "float32"
    seed: Seed = 0
    device: DeviceName = "auto"


class DynamicsConfig(Settings):
    """One experiment with dynamics."""

    changeable: ClassVar = frozenset({"description", "expected"})

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    description: str = ""
    expected: str = ""
    data: SpringSettings | MoleculeSettings
    model: NetworkSettings
    training: OptimisationSettings = OptimisationSettings()


class SpringConfig(DynamicsConfig):
    """One experiment with springs."""

    data: SpringSettings


class MoleculeConfig(DynamicsConfig):
    """One experiment with a molecule."""

    data: MoleculeSettings


_CONFIGS = {"springs": SpringConfig, "molecule": MoleculeConfig}


def is_dynamics(data: Mapping[str, Any]) -> bool:
    """Tell a config of dynamics from one of molecular properties."""
    kind = data["data"].get("kind") if isinstance(data.get("data"), Mapping) else None
    return isinstance(kind, str) and kind in _CONFIGS


def load_dynamics_config(source: str | Path, overrides: Sequence[str] = ()) -> DynamicsConfig:
    """Read a YAML file, or the config bundled under that name, and apply `overrides`.

    They are such as `model.kind=hogn`. Raises UserError as `training.config.load_config`.
    """
    data = read_settings(source, overrides)
    if not is_dynamics(data):
        raise UserError(f"{source}: data.kind is not one of dynamics: {', '.join(_CONFIGS)}")
    return make_dynamics_config(data, str(source))


def make_dynamics_config(data: Mapping[str, Any], where: str = "config") -> DynamicsConfig:
    """Validate plain data of dynamics (see `is_dynamics`).

    `where` names their origin in messages.
    """
    config = validate(_CONFIGS[data["data"]["kind"]], data, where)
    _check_model(config, where)
    return config


def _check_model(config: DynamicsConfig, where: str) -> None:
    model = config.model
    known = RECIPES if isinstance(config.data, SpringSettings) else {**RECIPES, **BACKBONES}
    if model.kind not in known:
        raise UserError(f"{where}: model.kind is {model.kind!r}; known are {', '.join(known)}")
    stated = model.backbone.overrides()
    for name, here in (("architecture", "kind"), ("n_channels", "width"), ("n_layers", "n_layers")):
        if name in stated:
            raise UserError(f"{where}: model.backbone.{name} is said by model.{here}; set that")
    if model.kind not in BACKBONES and model.backbone != ArchitectureSettings():
        raise UserError(
            f"{where}: model.backbone is for {', '.join(BACKBONES)}, model.kind is {model.kind}; "
            "remove it"
        )
