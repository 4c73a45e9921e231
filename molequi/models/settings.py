"""Settings of a network and of the physics beside it: the group `model` of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from molequi.errors import UserError
from molequi.keys import Unit
from molequi.models.physics import Physics
from molequi.nn.backbones import registry as backbones
from molequi.nn.physics import DispersionParameters, dispersion_parameters
from molequi.settings import Count, Positive, Settings, one_of

# What a symmetry that is not exact asks for, where nothing else is said.
_IMPLIED: Mapping[str, Mapping[str, str]] = {
    "averaged": {"architecture": "coordinates", "average": "Oh"},
    "penalty": {"architecture": "coordinates"},
    "augmented": {"architecture": "coordinates"},
    "none": {"architecture": "coordinates"},
}


class ArchitectureSettings(Settings):
    """The architecture: a preset, and those arguments of the backbone that differ from it.

    Each architecture takes its own arguments: `nn.backbones.spherical`, `.invariant`,
    `.coordinates`, `.lieconv`, `.mace`.
    """

    preset: str = "small"
    """Sizes, which the other keys may change: light, small, medium or large."""
    architecture: str | None = None
    """spherical (the default), invariants, coordinates, lieconv or mace."""
    cutoff: Annotated[Positive, Unit("Å")] | None = None
    """Distance within which atoms see each other."""
    n_layers: Count | None = None
    """Message passing steps."""
    n_channels: Count | None = None
    """Features of an atom of each kind."""
    l_max: int | None = Field(None, ge=0, le=6)
    """Highest degree of the spherical harmonics."""
    parity: Literal["natural", "full"] | None = None
    """natural, or full for handed and axial outputs."""
    correlation: int | None = Field(None, ge=1, le=3)
    """Neighbours that a message couples at once, 1 to 3."""
    n_radial: Count | None = None
    """Radial basis functions."""
    n_hidden: Count | None = None
    """Width of the radial networks."""
    n_readout: Count | None = None
    """Width of the networks that read outputs from features."""
    l_hidden: int | None = Field(None, ge=0, le=6)
    """Highest degree of the features between layers."""
    mixing: Literal["merged", "separate"] | None = None
    """merged or separate weights of the paths that end in one irrep."""
    self_connection: Literal["factors", "matrices"] | None = None
    """What an atom keeps of itself, by species: factors or matrices."""
    held_below: float | None = Field(None, ge=0.3, le=0.8)
    """Of the sum of covalent radii: below it distances stop shrinking to the network."""
    normalization: Literal["none", "irreps"] | None = None
    """Of spherical: none, or irreps, the size of each irrep of an atom after each layer."""
    dropout: float | None = Field(None, ge=0.0, le=0.9)
    """Of spherical: share of the irreps of a channel that each layer drops in training."""
    product: Literal["chained", "symmetric"] | None = None
    """Of spherical: how messages are multiplied, one after another or all at once."""
    average: str | None = None
    """Of symmetry=averaged: frames of principal axes, or a point group, Oh by default."""
    near_cutoff: Annotated[Positive, Unit("Å")] | None = None
    """Of invariants: reach of angles and dihedrals."""
    hidden: str | None = None
    """Of mace: irreps of the features between layers, 0e first."""
    first_block: str | None = None
    """Of mace: interaction of the first layer, plain, residual, density or density_residual."""
    block: str | None = None
    """Of mace: interaction of the other layers."""
    radial_basis: str | None = None
    """Of mace: bessel, gaussian or chebyshev."""
    distance_transform: str | None = None
    """Of mace: none, agnesi or soft."""
    envelope_power: Count | None = None
    """Of mace: power of the polynomial that ends at the cutoff."""
    late_envelope: bool | None = None
    """Of mace: that polynomial after the radial networks instead of before."""
    radial_widths: tuple[Count, ...] | None = None
    """Of mace: widths of the radial networks."""
    radial_splines: bool | None = None
    """Of mace: predictions take splines through the radial networks."""
    group: str | None = None
    """Of lieconv: the group that atoms are lifted to, trivial, T(3), SO(3) or SE(3)."""
    n_lifts: Count | None = None
    """Of lieconv: elements of the group for each atom."""
    lifts: Literal["sampled", "fixed", "frames"] | None = None
    """Of lieconv: sampled in every call, fixed, or four frames of principal axes for SE(3)."""
    radius: Positive | None = None
    """Of lieconv: of neighbourhoods, in the metric of the group; all atoms by default."""
    n_neighbors: Count | None = None
    """Of lieconv: lifts of each neighbourhood that are drawn in every call; all by default."""
    n_middle: Count | None = None
    """Of lieconv: width of the bottleneck."""
    augmentation: Literal["none", "rotations"] | None = None
    """Of lieconv: none, or rotations, which turns molecules in training."""

    @pydantic.field_validator("architecture")
    @classmethod
    def _known_architecture(cls, value: str | None) -> str | None:
        return value if value is None else one_of(value, backbones.BACKBONES)

    def overrides(self) -> dict[str, Any]:
        """Return the arguments that are set, without the preset."""
        return self.model_dump(exclude={"preset"}, exclude_none=True)


class ModelSettings(ArchitectureSettings):
    """The architecture, how it keeps the symmetry, and what of the energy has a closed form.

    The last as in `models.physics.Physics`; equilibrated charges are those of
    `nn.heads.equilibration`. What each way to keep the symmetry does is said in `training.symmetry`
    and `nn.backbones.coordinates`.
    """

    symmetry: Literal["exact", "averaged", "penalty", "augmented", "none"] | None = None
    """How rotations and mirrors are kept; null is as the architecture does it."""
    penalty: Positive | None = None
    """Of symmetry=penalty: weight of the violation in the loss, 1 by default."""
    pooling: Literal["attention"] | None = None
    """attention: how outputs that are no sums read the atoms; null is a weighted mean."""
    charges: Literal["flows", "equilibrated"] | None = None
    """flows (the default) or equilibrated: how charges carry the total charge."""
    coulomb: Literal["damped"] | None = None
    """damped: energy of the charges beyond 4.6 Å; null is none."""
    dispersion: Literal["d3bj"] | None = None
    """d3bj, with parameters of a functional or given ones; null is none."""
    dispersion_functional: str | None = None
    """Whose D3(BJ) parameters are taken, such as pbe0."""
    dispersion_parameters: tuple[float, float, float, float] | None = None
    """s6, s8, a1 and a2 (bohr) of D3(BJ)."""
    repulsion: Literal["zbl"] | None = None
    """zbl: of the nuclei at short range; null is none."""
    repulsion_reach: Positive | None = None
    """Where it ends, in sums of covalent radii: 1 by default; with 0.75 bonds do not feel it."""

    def overrides(self) -> dict[str, Any]:
        """Return the arguments of the backbone that are set, without the preset."""
        own = set(ModelSettings.model_fields) - set(ArchitectureSettings.model_fields)
        stated = self.model_dump(exclude={"preset", *own}, exclude_none=True)
        return {**_IMPLIED.get(self.symmetry or "exact", {}), **stated}

    @property
    def has_physics(self) -> bool:
        """Whether anything is said of the physics."""
        others = {*ArchitectureSettings.model_fields, "symmetry", "penalty", "pooling"}
        return any(value is not None for name, value in self if name not in others)

    def refuse_contradiction(self) -> None:
        """Raise UserError where the switch of the symmetry and other settings do not agree."""
        name = self.overrides().get("architecture", "spherical")
        if self.symmetry == "exact" and not backbones.BACKBONES[name].is_exact:
            raise UserError(
                f"model.symmetry is exact, which model.architecture={name} does not ensure; leave "
                "one of the two out"
            )
        if self.symmetry in _IMPLIED and backbones.BACKBONES[name].is_exact:
            raise UserError(
                f"model.symmetry is {self.symmetry}, but model.architecture={name} is exact by "
                "construction; leave the architecture out, for coordinates, or set "
                "model.symmetry=exact"
            )
        for key, symmetry in (("average", "averaged"), ("penalty", "penalty")):
            if getattr(self, key) is not None and self.symmetry != symmetry:
                raise UserError(
                    f"model.{key} belongs to model.symmetry={symmetry}; set it, or leave "
                    f"model.{key} out"
                )

    def physics(self) -> Physics:
        """Return what of the energy has a closed form.

        Raises UserError for a dispersion without parameters, and for parameters without one, as for
        the reach of no repulsion.
        """
        if self.repulsion_reach is not None and self.repulsion is None:
            raise UserError(
                "model.repulsion_reach belongs to a repulsion; set model.repulsion=zbl, or leave "
                "it out"
            )
        return Physics(
            charges=self.charges or "flows",
            coulomb=self.coulomb,
            dispersion=self._dispersion(),
            functional=self.dispersion_functional,
            repulsion=self.repulsion,
            repulsion_reach=self.repulsion_reach or 1.0,
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
