"""Settings of a network and of the physics beside it: the group `model` of a config."""

from __future__ import annotations

from typing import Any, Literal

import pydantic
from pydantic import Field

from molequi.errors import UserError
from molequi.models.physics import Physics
from molequi.nn.backbones import registry as backbones
from molequi.nn.physics import DispersionParameters, dispersion_parameters
from molequi.settings import Count, Positive, Settings, one_of


class ArchitectureSettings(Settings):
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
    n_readout: Count | None = None
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


class ModelSettings(ArchitectureSettings):
    """The architecture, and what of the energy has a closed form (`models.physics.Physics`).

    charges: `flows`, the default, or `equilibrated` (`nn.heads.equilibration`), which carry the
    total charge. coulomb: `damped`, the energy of these charges beyond 4.6 Å. dispersion: `d3bj`
    with the parameters of `dispersion_functional`, or with `dispersion_parameters`: s6, s8, a1 and
    a2 (bohr). repulsion: `zbl`, of the nuclei at short range.
    """

    charges: Literal["flows", "equilibrated"] | None = None
    coulomb: Literal["damped"] | None = None
    dispersion: Literal["d3bj"] | None = None
    dispersion_functional: str | None = None
    dispersion_parameters: tuple[float, float, float, float] | None = None
    repulsion: Literal["zbl"] | None = None

    def overrides(self) -> dict[str, Any]:
        """Return the arguments of the backbone that are set, without the preset."""
        own = set(ModelSettings.model_fields) - set(ArchitectureSettings.model_fields)
        return self.model_dump(exclude={"preset", *own}, exclude_none=True)

    @property
    def has_physics(self) -> bool:
        """Whether anything is said of the physics."""
        own = set(ModelSettings.model_fields) - set(ArchitectureSettings.model_fields)
        return any(value is not None for name, value in self if name in own)

    def physics(self) -> Physics:
        """Return what of the energy has a closed form.

        Raises UserError for a dispersion without parameters, and for parameters without one.
        """
        return Physics(
            charges=self.charges or "flows",
            coulomb=self.coulomb,
            dispersion=self._dispersion(),
            functional=self.dispersion_functional,
            repulsion=self.repulsion,
        )

    def _dispersion(self) -> DispersionParameters | None:
        functional, numbers = self.dispersion_functional, self.dispersion_parameters
        if self.dispersion is None:
            if functional is None and numbers is None:
                return None
            raise UserError(
                "model.dispersion_functional and model.dispersion_parameters belong to a "
                "dispersion; set model.dispersion=d3bj, or leave them out"
            )
        if (functional is None) == (numbers is None):
            raise UserError(
                "model.dispersion=d3bj needs model.dispersion_functional, such as pbe0, or "
                "model.dispersion_parameters: s6, s8, a1 and a2 (bohr); one of the two"
            )
        if numbers is not None:
            return DispersionParameters(*numbers)
        return dispersion_parameters(str(functional))
