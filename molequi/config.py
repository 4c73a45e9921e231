"""Settings of an experiment: one self-contained YAML file, validated; an unknown key is an error that names the nearest one.

The names are those of the constructor arguments that they reach. Values on the command line (`a.b=c`) are read as YAML.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from molequi import resources
from molequi.errors import UserError
from molequi.properties import Property, declare, get_property, part_names

Positive = typing.Annotated[float, Field(gt=0)]
Count = typing.Annotated[int, Field(gt=0)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PropertySettings(_Settings):
    """A property of the user's own; the fields are those of `properties.Property`."""

    irreps: str = "0e"
    unit: str
    description: str = ""
    per_atom: bool = False
    extensive: bool = False
    has_reference: bool = False
    binary: bool = False
    aliases: tuple[str, ...] = ()


class SplitSettings(_Settings):
    """How the structures are divided.

    kind: random (seeded; groups of mirror images and conformers stay whole), official (published or fixed; of rMD17 the number `index`), cormorant
    (QM9), file (`path`: npz or json of row lists), stored (in the data file).
    train, valid, test: of a random split fractions of the whole when below 1, else counts; of the others so many of each part, all of it when below 1
    (official: `valid` structures are taken out of the published training rows).
    """

    kind: Literal["random", "official", "cormorant", "file", "stored"] = "random"
    train: Positive = 0.8
    valid: Positive = 0.1
    test: float = Field(0.1, ge=0)
    seed: int = 0
    index: int = Field(1, ge=1)
    path: str | None = None


class DataSettings(_Settings):
    """Which structures and labels to learn from; targets are names of the property table.

    keys: target -> the label's name in the file. units: target -> the unit it has there. smiles: the SMILES column of a table.
    structures: QM9, where the labels name its molecules (rosenfeld, qm9_chirality). conformers: so many of each stereoisomer (chiral).
    limit: use only so many structures, drawn with `seed`; the seed also places conformers.
    """

    kind: Literal["frames", "qm9", "rmd17", "table", "npz", "chiral", "alanine", "qm9_chirality", "rosenfeld", "axial"]
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

    @pydantic.field_validator("targets", mode="before")
    @classmethod
    def _split_names(cls, value: object) -> object:
        return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


class ModelSettings(_Settings):
    """The architecture: a preset, and those arguments of the backbone that differ from it.

    kind: tensors (`nn.backbone.Backbone`, the default), invariants (`nn.invariants.InvariantBackbone`) or lieconv
    (`nn.lieconv_backbone.LieConvBackbone`); each takes its own arguments.
    """

    preset: str = "small"
    kind: Literal["tensors", "invariants", "lieconv"] | None = None
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

    def overrides(self) -> dict[str, Any]:
        """Return the arguments that are set, without the preset."""
        return self.model_dump(exclude={"preset"}, exclude_none=True)


class StageSettings(_Settings):
    """The second stage of a run: from the fraction `start` of it on, the loss weights are `weights`."""

    start: float = Field(0.75, gt=0, lt=1)
    weights: dict[str, float]


class TrainingSettings(_Settings):
    """The optimisation.

    max_minutes: time budget; the schedule then follows the clock. ema: decay of the averaged weights, 0 switches them off. warmup_steps: batches.
    gradient_clip: largest norm of the gradient. patience: epochs without improvement before the run ends; null never stops early. schedule plateau
    halves the rate after a third of the patience.
    weights: loss weight by target, 1 where unnamed, shared equally by its irrep parts; or by part, such as `rosenfeld[0o]`. huber: error beyond
    which the loss grows linearly, in units of the target's scale; null is plain MSE. reference_energies: least_squares, or element -> eV, or a
    file with such a mapping (YAML, JSON). kernels: who computes the convolutions, see `Backbone.use_kernels`; auto compiles where a run is long.
    checkpoint_minutes, checkpoint_steps: write last.ckpt so often within an epoch. devices: processes; nodes: machines.
    """

    epochs: Count = 100
    max_minutes: Positive | None = None
    batch_size: Count = 16
    learning_rate: Positive = 1e-2
    weight_decay: float = Field(0.0, ge=0)
    ema: float = Field(0.99, ge=0, lt=1)
    warmup_steps: int = Field(100, ge=0)
    schedule: Literal["cosine", "plateau"] = "cosine"
    gradient_clip: Positive = 10.0
    patience: Count | None = None
    weights: dict[str, float] = {}
    huber: Positive | None = 0.1
    second_stage: StageSettings | None = None
    reference_energies: dict[str, float] | str = "least_squares"
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0
    device: str = "auto"
    kernels: Literal["auto", "reference", "table", "unrolled", "triton"] = "auto"
    devices: Count = 1
    nodes: Count = 1
    workers: int = Field(0, ge=0)
    logger: Literal["csv", "tensorboard"] = "csv"
    checkpoint_minutes: Positive = 10.0
    checkpoint_steps: Count | None = None


class Config(_Settings):
    """One experiment: data, model, training.

    expected: what a run gives, with the hardware. level: level of theory by target, kept in the model. isolated_atoms:
    element -> energy of the isolated atom at the model's level (eV), for atomization energies. properties: rows beside those of the table.
    init: a model (path or bundled name) to start from. freeze: what of it stays as it is.
    """

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
    """Read a YAML file, or the config bundled under that name, and apply `overrides` such as `training.epochs=3`.

    Raises UserError for a missing file, broken YAML, an unknown key (naming the nearest) or a value out of range.
    """
    path = Path(source)
    if not path.is_file():
        path = resources.config_path(str(source))
    data = _read_yaml(path)
    for text in overrides:
        _apply_override(data, text)
    return make_config(data, str(source))


def make_config(data: Mapping[str, Any], where: str = "config") -> Config:
    """Validate plain data as a Config; `where` names its origin in messages.

    Raises UserError as `load_config`.
    """
    try:
        config = Config.model_validate(data)
    except pydantic.ValidationError as error:
        raise UserError(_explain(error, where)) from None
    _check_names(config, where)
    return config


def dump_config(config: Config) -> str:
    """Return the config as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=150)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UserError(f"{path}{f', line {mark.line + 1}' if mark else ''}: not YAML: {getattr(error, 'problem', error)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a config: {error}") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds {type(data).__name__}; a config is a mapping with at least `name` and `data`")
    return data


def _apply_override(data: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UserError(f"setting {text!r} is not of the form key=value, for example training.epochs=20")
    *parents, last = key.strip().split(".")
    node = data
    for parent in parents:
        if node.get(parent) is None:
            node[parent] = {}
        node = node[parent]
        if not isinstance(node, dict):
            raise UserError(f"setting {key!r}: {parent!r} is a value, not a group; write {parent}=...")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        node[last] = value


def _check_names(config: Config, where: str) -> None:
    declared = config.declared()
    for name in config.data.targets:
        try:
            get_property(name, declared)
        except UserError as error:
            raise UserError(f"{where}, data.targets: {error}, e.g. properties.{name}.unit=eV") from None
    if config.freeze is not None and config.init is None:
        raise UserError(f"{where}: freeze is {config.freeze!r} but there is no init; name the model to start from, such as init=organic")
    parts = [*config.data.targets, *(part for row in config.targets() for part in part_names(row) if part != row.name)]
    stage = config.training.second_stage
    groups = [("level", config.level, config.data.targets), ("training.weights", config.training.weights, parts)]
    groups += [] if stage is None else [("training.second_stage.weights", stage.weights, parts)]
    for group, entries, known in groups:
        for name in entries:
            if name not in known:
                raise UserError(f"{where}, {group}: {name!r} is not a target; the targets are {', '.join(known)}")


def _explain(error: pydantic.ValidationError, where: str) -> str:
    """Word the first mistake as one line with its dotted key."""
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"] if not str(part).startswith(("literal[", "dict[", "str", "tuple"))]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {'.'.join([*path[:-1], near[0]])!r}?" if near else f"known are {', '.join(known)}"
        return f"{where}: unknown key {key!r}; {hint}"
    if first["type"] == "missing":
        return f"{where}: {key!r} is missing; add it to the file or as {key}=... on the command line"
    return f"{where}: {key} is {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"


def _keys_at(path: Sequence[str]) -> list[str]:
    """Names of the settings below the dotted `path`."""
    settings: Any = Config
    for part in path:
        field = settings.model_fields.get(part) if _is_settings(settings) else None
        if field is not None:
            settings = next((choice for choice in _choices(field.annotation) if _is_settings(choice)), None)
    return list(settings.model_fields) if _is_settings(settings) else []


def _choices(annotation: Any) -> list[Any]:
    """The alternatives of a union; for a mapping, the type of its values."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return list(typing.get_args(annotation))
    if typing.get_origin(annotation) is dict:
        return [typing.get_args(annotation)[1]]
    return [annotation]


def _is_settings(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, _Settings)
