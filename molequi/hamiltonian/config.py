"""Settings of an experiment with dynamics.

Data that are trajectories, a model of `hamiltonian.models`, training through the integrator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from molequi.errors import UserError
from molequi.groups.lie_groups import GROUPS
from molequi.hamiltonian.lie_networks import SHIFTS, Lifting
from molequi.hamiltonian.models import ANYWHERE, RECIPES
from molequi.keys import Unit
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
    """Random systems of springs: a piece of one trajectory each to train, validate and test on."""

    kind: Literal["springs"]
    """What moves: springs."""
    n_particles: int = Field(6, ge=2)
    """Masses of a system."""
    train: Count = 3000
    """Systems to train on."""
    valid: Count = 2000
    """Systems that choose the best epoch."""
    test: Count = 2000
    """Systems to test on."""
    rollouts: Count = 200
    """Test trajectories that are followed for 100 steps."""
    duration: Positive = 5.0
    """Time that a trajectory lasts, in the units of the springs."""
    n_steps: int = Field(500, ge=101)
    """States of a trajectory."""
    seed: Seed = 0
    """Of all systems."""


class MoleculeSettings(Settings):
    """One trajectory of a molecule to train on, and another one, or a later part, to test on.

    Of a file with one structure a model, the teacher, makes them. A file with more frames is a
    trajectory of your own, with momenta; no teacher is asked.
    """

    paths: ClassVar = frozenset({"path", "teacher"})

    kind: Literal["molecule"]
    """What moves: molecule."""
    path: str
    """A file with one structure, or with a trajectory."""
    teacher: str = "organic"
    """The model whose dynamics are learned, of one structure."""
    temperature: Annotated[Positive, Unit("K")] = 300.0
    """On average, under the teacher."""
    timestep: Annotated[Positive, Unit("fs")] = 0.5
    """Between states, so between the frames of a trajectory of your own."""
    train: Annotated[Positive, Unit("ps")] = 1.0
    """Length of the trajectory to train on, of which a tenth validates."""
    test: Annotated[Positive, Unit("ps")] = 1.0
    """Length of the one to test on; in a file, what follows."""
    seed: Seed = 0
    """Of the velocities."""


class NetworkSettings(Settings):
    """Which model: one of `hamiltonian.models.RECIPES`.

    For a molecule also one of `backbones.registry.BACKBONES`.
    """

    kind: str
    """Which model: see `hamiltonian.models`; for a molecule an architecture too."""
    group: str | None = None
    """Of lieconv and hlieconv of springs: a group of the plane, T(2) by default."""
    lifts: Literal["sampled", "frames"] | None = None
    """To SE(2): sampled, one angle for each particle, or frames of what stands around it."""
    centred: bool = False
    """Of hlieconv: positions relative to their mean."""
    width: Count | None = None
    """Channels, of a backbone too; null is the published size."""
    n_layers: Count | None = None
    """Layers; null is the published number."""
    backbone: ArchitectureSettings = ArchitectureSettings()
    """Preset and arguments of a backbone."""

    @property
    def name(self) -> str:
        """The model in a word or two, as pictures call it."""
        lifts = (self.lifts or "", "centred" if self.centred else "")
        return " ".join(word for word in (self.kind, self.group or "", *lifts) if word)

    @property
    def lifting(self) -> Lifting:
        """How particles of the plane are lifted."""
        return Lifting(self.group or Lifting().group, self.lifts == "frames", self.centred)

    def overrides(self) -> dict[str, Any]:
        """Return the preset and the arguments of the backbone that are set."""
        sizes = {
            name: value
            for name, value in (("n_channels", self.width), ("n_layers", self.n_layers))
            if value is not None
        }
        return {"preset": self.backbone.preset, **self.backbone.overrides(), **sizes}


class OptimisationSettings(Settings):
    """Adam on the squared error of the integrated states, with a cosine schedule."""

    changeable: ClassVar = frozenset({"patience", "device"})

    epochs: Count | None = None
    """null is the published 100 sqrt(1000 / D), D segments."""
    batch_size: Count = 200
    """Segments a step."""
    learning_rate: Positive | None = None
    """null is the published one."""
    patience: Count | None = None
    """Epochs without improvement before the run ends; null never ends it early."""
    substeps: Count = 1
    """Steps of RK4 between two states."""
    dtype: Literal["float32", "float64"] = "float32"
    """Of training; tests are in float64."""
    seed: Seed = 0
    """Of weights and order."""
    device: DeviceName = "auto"
    """auto, cpu, cuda or cuda:N."""


class DynamicsConfig(Settings):
    """One experiment with dynamics."""

    changeable: ClassVar = frozenset({"description", "expected"})

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """What the run is called; its folder is runs/NAME by default."""
    description: str = ""
    """What it trains, in words."""
    expected: str = ""
    """What a run gives, with the hardware."""
    data: SpringSettings | MoleculeSettings
    """Trajectories."""
    model: NetworkSettings
    """The network."""
    training: OptimisationSettings = OptimisationSettings()
    """The optimisation."""


class SpringConfig(DynamicsConfig):
    """One experiment with springs."""

    data: SpringSettings
    """Trajectories of springs."""


class MoleculeConfig(DynamicsConfig):
    """One experiment with a molecule."""

    data: MoleculeSettings
    """Trajectories of a molecule."""


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
    is_of_springs = isinstance(config.data, SpringSettings)
    known = RECIPES if is_of_springs else {**dict.fromkeys(ANYWHERE), **BACKBONES}
    if model.kind not in known:
        raise UserError(f"{where}: model.kind is {model.kind!r}; known are {', '.join(known)}")
    _check_lifting(model, where, is_lifted=is_of_springs and RECIPES[model.kind].is_lifted)
    stated = model.backbone.overrides()
    for name, here in (("architecture", "kind"), ("n_channels", "width"), ("n_layers", "n_layers")):
        if name in stated:
            raise UserError(f"{where}: model.backbone.{name} is said by model.{here}; set that")
    is_backbone = not is_of_springs and model.kind in BACKBONES
    if not is_backbone and model.backbone != ArchitectureSettings():
        raise UserError(
            f"{where}: model.backbone is for {', '.join(BACKBONES)} of molecules, model.kind is "
            f"{model.kind}; remove it"
        )


def _check_lifting(model: NetworkSettings, where: str, *, is_lifted: bool) -> None:
    """Refuse settings of lifts that the model does not read."""
    if not is_lifted:
        given = {"group": model.group, "lifts": model.lifts, "centred": model.centred or None}
        for name in (name for name, value in given.items() if value is not None):
            there = (
                f"; of a backbone it is model.backbone.{name}" if model.kind in BACKBONES else ""
            )
            raise UserError(
                f"{where}: model.{name} is for lieconv and hlieconv of springs, model.kind is "
                f"{model.kind}; remove it{there}"
            )
        return
    group = model.lifting.group
    if group not in GROUPS[2]:
        raise UserError(
            f"{where}: model.group is {group!r}; of the plane there are {', '.join(GROUPS[2])}"
        )
    if model.kind == "lieconv" and group not in SHIFTS:
        raise UserError(
            f"{where}: model.group is {group}, but what lieconv gives, a time derivative, does not "
            f"turn or grow with it; choose one of {', '.join(SHIFTS)}, or model.kind=hlieconv"
        )
    if model.lifts is not None and group != "SE(2)":
        raise UserError(
            f"{where}: model.lifts is for SE(2), where a particle has more than one lift, "
            f"model.group is {group}; remove it"
        )
