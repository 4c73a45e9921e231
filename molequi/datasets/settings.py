"""Settings of data: the group `data` of a config."""

from __future__ import annotations

from typing import ClassVar, Literal

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

from molequi.datasets.registry import all_datasets, known_kinds
from molequi.errors import UserError
from molequi.settings import Count, Positive, Seed, Settings


class SplitSettings(Settings):
    """How the structures are divided.

    kind: random (seeded; groups of mirror images and conformers stay whole), molecules (seeded; all
    structures of the same elements and bonds stay together), scaffold (seeded; molecules of the
    same rings and linkers stay together), size (the largest molecules are tested), time (those with
    the latest date or year in `column` of the table), official (published or fixed; of rMD17 the
    number `index`), cormorant (QM9), file (`path`: npz or json of row lists), stored (in the data
    file).
    Isolated atoms always train, beside the number asked for: references come from them. Where the
    split is not a published one, so do structures with elements that would not train otherwise.
    train, valid, test: of a random split fractions of the whole when below 1, else counts; of the
    others so many of each part, all of it when below 1 (official: `valid` structures are taken out
    of the published training rows).
    """

    paths: ClassVar = frozenset({"path"})

    kind: Literal[
        "random", "molecules", "scaffold", "size", "time", "official", "cormorant", "file", "stored"
    ] = "random"
    """Who is tested: random, molecules, scaffold, size, time; official, cormorant, file, stored."""
    train: Positive = 0.8
    """How many are trained on: a number, or below 1 a part of all."""
    valid: Positive = 0.1
    """How many choose the best epoch: a number, or below 1 a part of all."""
    test: float = Field(0.1, ge=0)
    """How many are tested on: a number, or below 1 a part of all."""
    seed: Seed = 0
    """Of a split that is drawn."""
    index: int = Field(1, ge=1)
    """Number of the published split, of rMD17."""
    path: str | None = None
    """Of kind file: an npz or JSON of row lists."""
    column: str | None = None
    """Of kind time: the column of the table with dates or years."""
    folds: int | None = Field(None, ge=2)
    """Parts of a cross-validation, of which one is tested; null has none."""
    fold: Count = 1
    """Number of the part that is tested, from 1."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _kind_alone(cls, data: object) -> object:
        return {"kind": data} if isinstance(data, str) else data

    def refuse_contradiction(self) -> None:
        """Raise UserError for a setting that belongs to another kind, and so would do nothing."""
        of_kinds = {"column": ("time", None), "path": ("file", None), "index": ("official", 1)}
        for name, (kind, default) in of_kinds.items():
            value = getattr(self, name)
            if value != default and self.kind != kind:
                raise UserError(
                    f"data.split.{name}={value} belongs to data.split.kind={kind}, and the kind is "
                    f"{self.kind}; set the kind, or leave {name} out"
                )
        if self.fold != 1 and self.folds is None:
            raise UserError(
                f"data.split.fold={self.fold} is one of data.split.folds parts, which are not set"
            )


class DataSettings(Settings):
    """Which structures and labels to learn from; targets are names of the property table.

    kind: a data set of `datasets.registry`.
    """

    paths: ClassVar = frozenset({"path", "structures"})

    kind: str | None = None
    """A data set of `molequi data list` or a kind of file; by default the file is looked at."""
    path: str | None = None
    """A file, a folder, or a bundled sample; several apart by commas, or a pattern with *."""
    targets: tuple[str, ...] = Field(min_length=1)
    """What is learned: names of the property table or of `properties`, apart by commas."""
    keys: dict[str, str] = {}
    """Label or column of the file by target, where it has another name."""
    units: dict[str, str] = {}
    """Unit in the file by target, where it is another one."""
    smiles: str | None = None
    """Column of a table that holds SMILES."""
    structures: str | None = None
    """QM9, where labels name its molecules (rosenfeld, qm9_chirality)."""
    conformers: Count = 1
    """Geometries of each stereoisomer (chiral)."""
    add_hydrogens: bool = False
    """Whether SDF records in space that have no hydrogens get them."""
    limit: Count | None = None
    """Structures used at most, drawn with the seed, beside isolated atoms; null is all."""
    seed: Seed = 0
    """Of that draw, and of conformers."""
    split: SplitSettings = SplitSettings()
    """Parts for training, validation and test."""

    @pydantic.field_validator("kind")
    @classmethod
    def _known_kind(cls, value: str | None) -> str | None:
        if value is not None and value not in all_datasets():
            raise PydanticCustomError("kind", "{text}", {"text": known_kinds(value)})
        return value
