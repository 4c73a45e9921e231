"""Settings of data: the group `data` of a config."""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

from molequi.datasets.registry import all_datasets, known_kinds
from molequi.settings import Count, Positive, Seed, Settings


class SplitSettings(Settings):
    """How the structures are divided.

    kind: random (seeded; groups of mirror images and conformers stay whole), molecules (seeded; all
    structures of the same elements and bonds stay together), official (published or fixed; of
    rMD17 the number `index`), cormorant (QM9), file (`path`: npz or json of row lists),
    stored (in the data file).
    Isolated atoms always train, beside the number asked for: references come from them.
    train, valid, test: of a random split fractions of the whole when below 1, else counts; of the
    others so many of each part, all of it when below 1 (official: `valid` structures are taken out
    of the published training rows).
    """

    paths: ClassVar = frozenset({"path"})

    kind: Literal["random", "molecules", "official", "cormorant", "file", "stored"] = "random"
    train: Positive = 0.8
    valid: Positive = 0.1
    test: float = Field(0.1, ge=0)
    seed: Seed = 0
    index: int = Field(1, ge=1)
    path: str | None = None


class DataSettings(Settings):
    """Which structures and labels to learn from; targets are names of the property table.

    kind: a data set of `datasets.registry`; without it the file is looked at. keys: target -> the
    label's name in the file. units: target -> the unit it has there. smiles: the SMILES column of a
    table.
    structures: QM9, where the labels name its molecules (rosenfeld, qm9_chirality). conformers: so
    many of each stereoisomer (chiral). add_hydrogens: complete SDF records in space that have none.
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
    add_hydrogens: bool = False
    limit: Count | None = None
    seed: Seed = 0
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
