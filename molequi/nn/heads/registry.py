"""Which head serves which property, and which irreps it asks of the backbone."""

from __future__ import annotations

from collections.abc import Container, Sequence

from molequi.errors import UserError
from molequi.nn.backbones.base import BackboneBase
from molequi.nn.heads import electrostatics, optical, pooling
from molequi.nn.heads.base import Head
from molequi.o3.irreps import Irreps, full_irreps, irreps_name
from molequi.properties import PROPERTIES, Property, parse_irreps

# Outputs of one head that belong together: the head is made once, for the first of them.
_ELECTROSTATIC = ("dipole", "dipole_magnitude", "charges")
DERIVED = ("forces", "stress")
# The head of the first of these that is asked for gives those behind it too.
_OPTICAL = ("rosenfeld", "rosenfeld_isotropic", "specific_rotation")


def make_head(row: Property, backbone: BackboneBase, outputs: tuple[str, ...]) -> Head:
    """Return the head of a property in a model with these outputs.

    Raises UserError where the backbone's last layer lacks irreps that the property needs.
    """
    sizes = (backbone.irreps_out, backbone.n_channels, backbone.n_invariants)
    if row.name == "dipole_magnitude" and not backbone.capabilities.vectors:
        return pooling.MeanHead(row, *sizes)
    missing = [irrep for irrep in irreps_of(row) if irrep not in backbone.irreps_out]
    if missing:
        raise UserError(
            f"{row.name} needs {irreps_name(missing)}, which this network's last layer does not "
            f"have ({irreps_name(backbone.irreps_out)}); "
            f"{backbone.advice}"
        )
    if row.name == "energy":
        return pooling.EnergyHead(row, *sizes)
    if row.name == "charges":
        return electrostatics.ChargeHead(row, backbone.cutoff, backbone.n_invariants)
    if row.name in _ELECTROSTATIC:
        shown = (
            tuple(name for name in _ELECTROSTATIC if name in outputs)
            if "dipole" not in outputs
            else _ELECTROSTATIC
        )
        return electrostatics.DipoleHead(
            PROPERTIES["dipole"],
            shown,
            backbone.irreps_out,
            backbone.n_channels,
            (backbone.cutoff, backbone.n_invariants),
        )
    if row.name == "r2":
        return pooling.SpatialExtentHead(row, *sizes)
    if row.name == "rosenfeld":
        return optical.RosenfeldHead(
            row, backbone.irreps_out, backbone.n_channels, (backbone.cutoff, backbone.n_invariants)
        )
    if row.name == "rosenfeld_isotropic":
        return optical.OpticalRotationHead(row, *sizes)
    return (
        pooling.SumHead(row, *sizes)
        if row.extensive or row.per_atom
        else pooling.MeanHead(row, *sizes)
    )


def irreps_of(row: Property) -> Irreps:
    """Return the irreps that the head of a property reads, which may be more than it gives."""
    if row.name == "rosenfeld":
        return full_irreps(2)
    return (
        ((0, 1), (1, -1))
        if row.name in ("dipole", "dipole_magnitude")
        else parse_irreps(row.irreps)
    )


def derived_outputs(outputs: Sequence[str]) -> tuple[str, ...]:
    """Return what comes with these outputs without having been asked for."""
    company = {
        "energy": DERIVED,
        "dipole": _ELECTROSTATIC,
        "rosenfeld": _OPTICAL,
        "rosenfeld_isotropic": _OPTICAL[1:],
    }
    return tuple(name for output, names in company.items() if output in outputs for name in names)


def is_served(
    name: str, outputs: Sequence[str], heads_made: Container[str], backbone: BackboneBase
) -> bool:
    """Whether another property's head gives this one too."""
    if name in _OPTICAL:
        return any(other in outputs for other in _OPTICAL[: _OPTICAL.index(name)])
    return (
        name in _ELECTROSTATIC
        and backbone.capabilities.vectors
        and any(other in heads_made for other in _ELECTROSTATIC)
    )
