"""Settings of the training of a model of molecules: one self-contained YAML file, validated.

An unknown key is an error that names the nearest one.

The names are those of the constructor arguments that they reach. Values on the command line
(`a.b=c`) are read as YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ase.data import atomic_numbers
from pydantic import Field

from molequi.datasets.settings import DataSettings
from molequi.errors import UserError
from molequi.keys import Unit
from molequi.models.settings import ModelSettings
from molequi.overrides import read_overrides
from molequi.properties import Property, declare, get_property, part_names
from molequi.settings import Settings, read_settings, validate
from molequi.training.completion import complete
from molequi.training.settings import TrainingSettings


class PropertySettings(Settings):
    """A property of the user's own; the fields are those of `properties.Property`."""

    irreps: str = "0e"
    """What it is under rotations and mirrors: 0e a number, 1o a vector, 0e+2e a tensor."""
    unit: str
    """Unit of its values, in files and results."""
    description: str = ""
    """What it is, in words."""
    per_atom: bool = False
    """Whether every atom has a value of its own."""
    extensive: bool = False
    """Whether the value is a sum over atoms rather than a mean."""
    has_reference: bool = False
    """Whether values of the elements are subtracted before learning."""
    binary: bool = False
    """Whether it is a yes/no label, 0 or 1."""
    aliases: tuple[str, ...] = ()
    """Other names of it in files, in lower case."""
    head: str = ""
    """Who computes it, of `nn.heads.registry`; by default a sum or a mean over atoms."""
    reads: str = ""
    """Irreps of the features that its head reads, where they are more than its own."""
    depends_on_origin: bool = False
    """Whether it refers to the centre of mass even in neutral molecules."""
    spread_of: str = ""
    """The property whose error this estimates."""
    periodicity: Literal["any", "open", "full"] = "any"
    """Which structures have it: any, open, or full (periodic in three directions)."""


class Config(Settings):
    """One experiment: data, model, training.

    With `freeze` outputs are added to a model and nothing that it gives is changed.
    """

    changeable: ClassVar = frozenset({"description", "expected"})
    paths: ClassVar = frozenset({"init"})

    name: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    """What the run is called; its folder is runs/NAME by default."""
    description: str = ""
    """What it trains, in words."""
    expected: str = ""
    """What a run gives, with the hardware."""
    level: dict[str, str] = {}
    """Level of theory by target, kept in the model."""
    isolated_atoms: Annotated[dict[str, float], Unit("eV")] = {}
    """Energy of the isolated atom by element, for atomization energies."""
    properties: dict[str, PropertySettings] = {}
    """Properties beside those of the table, by name."""
    data: DataSettings
    """Structures and labels."""
    model: ModelSettings = ModelSettings()
    """The network."""
    training: TrainingSettings = TrainingSettings()
    """The optimisation."""
    init: str | None = None
    """A model to start from: a path or a bundled name; null starts anew."""
    freeze: Literal["backbone", "model"] | None = None
    """What of it stays as it is: backbone, or model, all that it gives; null is nothing."""
    ensemble: int | None = Field(None, ge=2, le=64)
    """Members of the model, whose mean and spread it gives; null is a single one."""
    members: Literal["models", "heads"] = "models"
    """What each member has of its own: models, all; heads, the readout of the energy."""

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

    They are such as `training.epochs=3`. What is open is completed, see `completion.complete`.
    Raises UserError for a missing file, broken YAML, an
    unknown key (naming the nearest) or a value out of range.
    """
    data, asked = read_settings(source, overrides), read_overrides(overrides)
    complete(data, read_settings(source), asked)
    return make_config(data, str(source))


def make_config(data: Mapping[str, Any], where: str = "config") -> Config:
    """Validate plain data as a Config; `where` names its origin in messages.

    Raises UserError as `load_config`.
    """
    config = validate(Config, data, where)
    _check_targets(config, where)
    _check_names(config, where)
    _check_atoms(config, where)
    config.model.refuse_contradiction()
    config.data.split.refuse_contradiction()
    if config.training.folds is not None and config.data.split.folds is not None:
        raise UserError(
            f"{where}: training.folds={config.training.folds} runs every fold, and "
            f"data.split.folds={config.data.split.folds} is one of them; leave one of the two out"
        )
    if config.freeze is not None and config.init is None:
        raise UserError(
            f"{where}: freeze is {config.freeze!r} but there is no init; name the model to start "
            "from, such as init=organic"
        )
    _check_ensemble(config, where)
    return config


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


def _check_ensemble(config: Config, where: str) -> None:
    """Refuse what does not go together with members."""
    if config.ensemble is None:
        if config.members != "models":
            raise UserError(
                f"{where}: members={config.members} belongs to an ensemble; set ensemble=4, or "
                "leave it out"
            )
        return
    if config.members == "heads" and config.freeze == "model":
        raise UserError(
            f"{where}: members=heads is another energy than that of {config.init}, which "
            "freeze=model keeps as it is; set freeze=backbone, or leave it out"
        )
    spreads = [row.name for row in config.targets() if row.spread_of]
    if spreads:
        raise UserError(
            f"{where}: ensemble={config.ensemble} takes {', '.join(spreads)} from how far its "
            "members lie apart; leave them out of data.targets"
        )
    if config.training.folds is not None or config.training.repeats > 1:
        raise UserError(
            f"{where}: ensemble={config.ensemble} is one model of several seeds, training.folds "
            "and training.repeats are several models; leave one of the two out"
        )


def _check_names(config: Config, where: str) -> None:
    """Refuse a level or a weight of what is not a target."""
    targets = config.data.targets
    parts = (*targets, *(part for row in config.targets() for part in part_names(row)))
    if config.init is not None or config.model.physics().is_equilibrated:
        parts = (*parts, "local_charge")
    known, stage = tuple(dict.fromkeys(parts)), config.training.second_stage
    _check_keys(config.level, targets, f"{where}, level")
    groups = {"training.weights": config.training.weights}
    if stage is not None:
        groups["training.second_stage.weights"] = stage.weights
    for group, weights in groups.items():
        _check_keys(weights, known, f"{where}, {group}")
        if all(weights.get(name, 1.0) == 0 for name in targets) and not any(weights.values()):
            raise UserError(f"{where}: {group} is zero for every target, so nothing is learned")


def _check_atoms(config: Config, where: str) -> None:
    """Refuse an isolated atom of what is no element."""
    for symbol in config.isolated_atoms:
        if not atomic_numbers.get(symbol):
            raise UserError(
                f"{where}, isolated_atoms: {symbol!r} is no element; write such as H: -13.6"
            )


def _check_keys(entries: Mapping[str, object], known: Sequence[str], where: str) -> None:
    for name in entries:
        if name not in known:
            group = where.rpartition(", ")[2]
            raise UserError(
                f"{where}: {name!r} is not a target; the targets are {', '.join(known)}. Add it to "
                f"data.targets, or drop what the config has there: {group}={{}}"
            )
