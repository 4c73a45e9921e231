"""The backbones by the name that a config gives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from molequi.errors import UserError
from molequi.nn.backbones.base import BackboneBase
from molequi.nn.backbones.coordinates import CoordinateBackbone
from molequi.nn.backbones.invariant import InvariantBackbone
from molequi.nn.backbones.lieconv import LieConvBackbone
from molequi.nn.backbones.mace import MaceBackbone
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.o3.irreps import Irreps

BACKBONES: Mapping[str, type[BackboneBase]] = MappingProxyType(
    {
        backbone.architecture: backbone
        for backbone in (
            SphericalBackbone,
            InvariantBackbone,
            CoordinateBackbone,
            LieConvBackbone,
            MaceBackbone,
        )
    }
)


def make_backbone(
    architecture: str,
    elements: Sequence[int],
    irreps_out: Irreps,
    preset: Mapping[str, object],
    overrides: Mapping[str, object],
) -> BackboneBase:
    """Make a backbone.

    Of `preset` it gets the arguments that it takes, of `overrides` those that are not None. Raises
    UserError for an unknown architecture, and for an override that it has no argument for.
    """
    if architecture not in BACKBONES:
        raise UserError(f"model.architecture is {architecture!r}; there are {', '.join(BACKBONES)}")
    # Each class has keyword arguments of its own.
    make: Callable[..., BackboneBase] = BACKBONES[architecture]
    known = set(inspect.signature(make).parameters) - {"elements", "irreps_out"}
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in given:
        if name not in known:
            raise UserError(
                f"model.{name} has no meaning for model.architecture={architecture}, which takes "
                f"{', '.join(sorted(known))}; remove it"
            )
    settings = {name: value for name, value in preset.items() if name in known}
    return make(elements, irreps_out=irreps_out, **{**settings, **given})
