"""What a model file says of the model beside its network: name, level of theory, training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

# Total charge in e and spin multiplicity 2S + 1.
ChargeState = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class TrainingRecord:
    """What a model was trained on, and what came of it.

    config: name of the experiment. init: the model that training started from. n_structures: of the
    training set. baseline: by property, what `evaluation` compares with. spread: by property, or
    part of one such as `rosenfeld[0o]`, the scale of the labels in their unit. errors: on the part
    of the data called `evaluated_on`, as `molequi evaluate` gives them. molecules: what
    `datasets.fingerprints.KnownMolecules` keeps of a training set of SMILES. calibration: by spread
    such as `forces_std`, the part of the split, its structures and the count of errors that fixed
    it, and the radius of each share of them, in per cent, in units of the spread.
    """

    config: str | None = None
    init: str | None = None
    n_structures: int | None = None
    baseline: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    spread: Mapping[str, float] = dataclasses.field(default_factory=dict)
    evaluated_on: str | None = None
    errors: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    molecules: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    calibration: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the weights of an imported model come from.

    program: that made the file, with its version. sha256: of the file. heads: all that it has, head
    being the one that was read. licence: of the weights, as whoever imported them gave it.
    """

    program: str
    file: str
    sha256: str
    heads: tuple[str, ...] = ()
    head: str = ""
    licence: str = ""


@dataclasses.dataclass(frozen=True)
class ModelMetadata:
    """What is known of a model; `dataclasses.replace` makes another one.

    name: for people. level: of theory, by property, or one text for all. charge_multiplicity: what
    the model may be asked for. isolated_atom_energies: by symbol, eV. origin: of an imported model.
    """

    name: str | None = None
    level: Mapping[str, str] | str = dataclasses.field(default_factory=dict)
    charge_multiplicity: tuple[ChargeState, ...] = ((0, 1),)
    isolated_atom_energies: Mapping[str, float] = dataclasses.field(default_factory=dict)
    training: TrainingRecord = TrainingRecord()
    origin: Origin | None = None

    def level_of(self, *names: str) -> str | None:
        """Return the level of theory of the first of these properties that has one."""
        if isinstance(self.level, str):
            return self.level or None
        return next((self.level[name] for name in names if self.level.get(name)), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, from which `from_json` makes the same."""
        data = dataclasses.asdict(self)
        # Most models have none, and their files are as they were before there was any.
        if not self.training.calibration:
            del data["training"]["calibration"]
        return {name: value for name, value in data.items() if name != "origin" or value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ModelMetadata:
        """Read what `to_json` gave. Raises TypeError for names that mean nothing here."""
        pairs = tuple((int(q), int(m)) for q, m in data["charge_multiplicity"])
        fields = {**data, "training": TrainingRecord(**data["training"])}
        if data.get("origin"):
            heads = tuple(data["origin"].get("heads", ()))
            fields["origin"] = Origin(**{**data["origin"], "heads": heads})
        return cls(**{**fields, "charge_multiplicity": pairs})
