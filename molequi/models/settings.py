"""Settings of an architecture: the group `model` of a config."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from pydantic import Field

from molequi.nn.backbones import registry as backbones
from molequi.settings import Count, Positive, Settings, one_of


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
