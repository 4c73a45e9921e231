"""Settings of the training of a model of molecules: one self-contained YAML file, validated.

An unknown key is an error that names the nearest one.

The names are those of the constructor arguments that they reach. Values on the command line
(`a.b=c`) are read as YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from molequi.datasets.settings import DataSettings
from molequi.errors import UserError
from molequi.models.settings import ModelSettings
from molequi.properties import Property, declare, get_property, part_names
from molequi.settings import Settings, dump_settings, read_settings, validate
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
    spread_of: str = ""
    periodicity: Literal["any", "open", "full"] = "any"


class Config(Settings):
    """One experiment: data, model, training.

    expected: what a run gives, with the hardware. level: level of theory by target, kept in the
    model. isolated_atoms: element -> energy of the isolated atom at the model's level (eV), for
    atomization energies. properties: rows beside those of the table.
    init: a model (path or bundled name) to start from. freeze: what of it stays as it is: the
    backbone, or all that it gives, so that outputs are added to a model and nothing is changed.
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
    freeze: Literal["backbone", "model"] | None = None

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
    """Refuse a target that is neither in the table nor declared, or lacks what it learns from."""
    declared = config.declared()
    for name in config.data.targets:
        try:
            row = get_property(name, declared)
        except UserError as error:
            raise UserError(
                f"{where}, data.targets: {error}, e.g. properties.{name}.unit=eV"
            ) from None
        if row.spread_of and row.spread_of not in config.data.targets:
            raise UserError(
                f"{where}, data.targets: {name} learns from the errors of {row.spread_of}; add "
                f"{row.spread_of} to data.targets"
            )


def _check_names(config: Config, where: str) -> None:
    """Refuse a level or a weight of what is not a target."""
    targets = config.data.targets
    parts = (*targets, *(part for row in config.targets() for part in part_names(row)))
    if config.init is not None or config.model.physics().is_equilibrated:
        parts = (*parts, "local_charge")
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
