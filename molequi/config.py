"""Settings of an experiment: one self-contained YAML file, validated.

An unknown key is an error that names the nearest one.

The names are those of the constructor arguments that they reach. Values on the command line
(`a.b=c`) are read as YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

from molequi.datasets.registry import all_datasets, known_kinds
from molequi.errors import UserError
from molequi.nn.backbones import registry as backbones
from molequi.properties import Property, declare, get_property, part_names
from molequi.settings import (
    Count,
    Positive,
    Settings,
    dump_settings,
    one_of,
    read_settings,
    validate,
)
from molequi.training.settings import TrainingSettings


class PropertySettings(Settings):
    """A property of the user's own; the fields are those of `properties.Property`."""

    irreps: str = "0e"
    unit: str
    description: str = ""
    per_atom: bool = False
    extensive: bool = False
    has_reference: bool = False
    binary: bool = False
    aliases: tuple[str, ...] = ()
    head: str = ""
    reads: str = ""
    depends_on_origin: bool = False
    periodicity: Literal["any", "open", "full"] = "any"


class SplitSettings(Settings):
    """How the structures are divided.

    kind: random (seeded; groups of mirror images and conformers stay whole), official (published or
    fixed; of rMD17 the number `index`), cormorant (QM9), file (`path`: npz or json of row lists),
    stored (in the data file).
    train, valid, test: of a random split fractions of the whole when below 1, else counts; of the
    others so many of each part, all of it when below 1 (official: `valid` structures are taken out
    of the published training rows).
    """

    paths: ClassVar = frozenset({"path"})

    kind: Literal["random", "official", "cormorant", "file", "stored"] = "random"
    train: Positive = 0.8
    valid: Positive = 0.1
    test: float = Field(0.1, ge=0)
    seed: int = 0
    index: int = Field(1, ge=1)
    path: str | None = None


class DataSettings(Settings):
    """Which structures and labels to learn from; targets are names of the property table.

    kind: a data set of `datasets.registry`; without it the file is looked at. keys: target -> the
    label's name in the file. units: target -> the unit it has there. smiles: the SMILES column of a
    table.
    structures: QM9, where the labels name its molecules (rosenfeld, qm9_chirality). conformers: so
    many of each stereoisomer (chiral).
    limit: use only so many structures, drawn with `seed`; the seed also places conformers.
    """

    paths: ClassVar = frozenset({"path"})

    kind: str | None = None
    path: str | None = None
    targets: tuple[str, ...] = Field(min_length=1)
    keys: dict[str, str] = {}
    units: dict[str, str] = {}
    smiles: str | None = None
    structures: str | None = None
    conformers: Count = 1
    limit: Count | None = None
    seed: int = 0
    split: SplitSettings = SplitSettings()

    @pydantic.field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str | None) -> str | None:
        if value is not None and value not in all_datasets():
            raise PydanticCustomError("kind", "{text}", {"text": known_kinds(value)})
        return value

    @pydantic.field_validator("targets", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


class ModelSettings(Settings):
    """The architecture: a preset, and those arguments of the backbone that differ from it.

    architecture: spherical (`nn.backbones.spherical`, the default), invariants
    (`nn.backbones.invariant`) or lieconv (`nn.backbones.lieconv`); each takes its own arguments.
    """

    preset: str = "small"
    architecture: str | None = None
    cutoff: Positive | None = None
    n_layers: Count | None = None
    n_channels: Count | None = None
    l_max: int | None = Field(None, ge=0, le=6)
    parity: Literal["natural", "full"] | None = None
    correlation: int | None = Field(None, ge=1, le=3)
    n_radial: Count | None = None
    n_hidden: Count | None = None
    l_hidden: int | None = Field(None, ge=0, le=6)
    mixing: Literal["merged", "separate"] | None = None
    self_connection: Literal["factors", "matrices"] | None = None
    near_cutoff: Positive | None = None
    group: str | None = None
    n_lifts: Count | None = None
    lifts: Literal["sampled", "fixed"] | None = None
    radius: Positive | None = None
    n_middle: Count | None = None
    augmentation: Literal["none", "rotations"] | None = None

    @pydantic.field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: str | None) -> str | None:
        return value if value is None else one_of(value, backbones.BACKBONES)

    def overrides(self) -> dict[str, Any]:
        """Return the arguments that are set, without the preset."""
        return self.model_dump(exclude={"preset"}, exclude_none=True)


class Config(Settings):
    """One experiment: data, model, training.

    expected: what a run gives, with the hardware. level: level of theory by target, kept in the
    model. isolated_atoms: element -> energy of the isolated atom at the model's level (eV), for
    atomization energies. properties: rows beside those of the table.
    init: a model (path or bundled name) to start from. freeze: what of it stays as it is.
    """

    changeable: ClassVar = frozenset({"description", "expected"})

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    description: str = ""
    expected: str = ""
    level: dict[str, str] = {}
    isolated_atoms: dict[str, float] = {}
    properties: dict[str, PropertySettings] = {}
    data: DataSettings
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    init: str | None = None
    freeze: Literal["backbone"] | None = None

    def declared(self) -> dict[str, Property]:
        """Return the rows that this config adds to the property table.

        Raises PropertyError for a declaration that makes no sense.
        """
        return {name: declare(name, **row.model_dump()) for name, row in self.properties.items()}

    def targets(self) -> tuple[Property, ...]:
        """Return the row of each target, in the order of the config.

        Raises PropertyError for a target that is neither in the table nor declared.
        """
        declared = self.declared()
        return tuple(get_property(name, declared) for name in self.data.targets)


def load_config(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, or the config bundled under that name, and apply `overrides`.

    They are such as `training.epochs=3`. Raises UserError for a missing file, broken YAML, an
    unknown key (naming the nearest) or a value out of range.
    """
    return make_config(read_settings(source, overrides), str(source))


def make_config(data: Mapping[str, Any], where: str = "config") -> Config:
    """Validate plain data as a Config; `where` names its origin in messages.

    Raises UserError as `load_config`.
    """
    config = validate(Config, data, where)
    _check_targets(config, where)
    _check_names(config, where)
    if config.freeze is not None and config.init is None:
        raise UserError(
            f"{where}: freeze is {config.freeze!r} but there is no init; name the model to start "
            "from, such as init=organic"
        )
    return config


def dump_config(config: Config) -> str:
    """Return the config as YAML that `load_config` reads back to an equal one."""
    return dump_settings(config)


def _check_targets(config: Config, where: str) -> None:
    """Refuse a target that is neither in the table nor declared."""
    declared = config.declared()
    for name in config.data.targets:
        try:
            get_property(name, declared)
        except UserError as error:
            raise UserError(
                f"{where}, data.targets: {error}, e.g. properties.{name}.unit=eV"
            ) from None


def _check_names(config: Config, where: str) -> None:
    """Refuse a level or a weight of what is not a target."""
    targets = config.data.targets
    parts = (*targets, *(part for row in config.targets() for part in part_names(row)))
    known, stage = tuple(dict.fromkeys(parts)), config.training.second_stage
    _check_keys(config.level, targets, f"{where}, level")
    _check_keys(config.training.weights, known, f"{where}, training.weights")
    if stage is not None:
        _check_keys(stage.weights, known, f"{where}, training.second_stage.weights")


def _check_keys(entries: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for name in entries:
        if name not in known:
            group = where.rpartition(", ")[2]
            raise UserError(
                f"{where}: {name!r} is not a target; the targets are {', '.join(known)}. Add it to "
                f"data.targets, or drop what the config has there: {group}={{}}"
            )
