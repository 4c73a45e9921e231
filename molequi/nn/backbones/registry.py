"""The backbones by the name that a config gives them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from molequi.errors import UserError
from molequi.nn.backbones.base import BackboneBase
from molequi.nn.backbones.invariant import InvariantBackbone
from molequi.nn.backbones.lieconv import LieConvBackbone
from molequi.nn.backbones.spherical import SphericalBackbone
from molequi.o3.irreps import Irreps

BACKBONES: Mapping[str, type[BackboneBase]] = MappingProxyType(
    {kind.kind: kind for kind in (SphericalBackbone, InvariantBackbone, LieConvBackbone)}
)


def make_backbone(
    kind: str,
    elements: Sequence[int],
    irreps_out: Irreps,
    preset: Mapping[str, object],
    overrides: Mapping[str, object],
) -> BackboneBase:
    """Make a backbone of a kind.

    Of `preset` it gets the arguments that it takes, of `overrides` those that are not None. Raises UserError for an unknown kind, and for an override that the kind has no argument for.
    """
    if kind not in BACKBONES:
        raise UserError(f"model.kind is {kind!r}; the kinds are {', '.join(BACKBONES)}")
    known = set(inspect.signature(BACKBONES[kind]).parameters) - {"elements", "irreps_out"}
    given = {name: value for name, value in overrides.items() if value is not None}
    for name in given:
        if name not in known:
            raise UserError(
                f"model.{name} has no meaning for model.kind={kind}, which takes "
                f"{', '.join(sorted(known))}; remove it"
            )
    settings = {name: value for name, value in preset.items() if name in known}
    return BACKBONES[kind](elements, irreps_out=irreps_out, **{**settings, **given})
