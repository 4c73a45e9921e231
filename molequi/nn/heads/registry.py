"""Which head serves which property; the properties themselves say what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from molequi.errors import UserError
from molequi.nn.backbones.base import BackboneBase
from molequi.nn.heads.attention import AttentionHead
from molequi.nn.heads.base import FeatureSpec, Head
from molequi.nn.heads.committee import CommitteeHead
from molequi.nn.heads.doubt import DoubtHead, MemberSpreadHead
from molequi.nn.heads.electrostatics import ChargeHead, DipoleHead, DipoleMagnitudeHead
from molequi.nn.heads.layered import LayeredEnergyHead
from molequi.nn.heads.layered_dipole import LayeredDipoleHead
from molequi.nn.heads.optical import OpticalRotationHead, RosenfeldHead
from molequi.nn.heads.pooling import EnergyHead, MeanHead, PooledHead, SpatialExtentHead, SumHead
from molequi.o3.irreps import Irreps
from molequi.properties import Property, with_company

# By the names that properties give (`Property.head`); a head from elsewhere is one more entry.
HEADS: dict[str, type[Head]] = {
    "sum": SumHead,
    "mean": MeanHead,
    "pooled": PooledHead,
    "attention": AttentionHead,
    "energy": EnergyHead,
    "committee": CommitteeHead,
    "layered_energy": LayeredEnergyHead,
    "spatial_extent": SpatialExtentHead,
    "charges": ChargeHead,
    "dipole": DipoleHead,
    "dipole_magnitude": DipoleMagnitudeHead,
    "layered_dipole": LayeredDipoleHead,
    "rosenfeld": RosenfeldHead,
    "optical_rotation": OpticalRotationHead,
    "doubt": DoubtHead,
    "members": MemberSpreadHead,
}


def feature_spec(backbone: BackboneBase, *, gives_charges: bool = False) -> FeatureSpec:
    """Return what heads may know of the features of a backbone."""
    return FeatureSpec(
        backbone.irreps_out,
        backbone.n_channels,
        backbone.n_invariants,
        backbone.cutoff,
        gives_charges=gives_charges,
        n_hidden=backbone.n_readout,
    )


def make_heads(
    targets: Sequence[Property], backbone: BackboneBase, *, gives_charges: bool = False
) -> dict[str, Head]:
    """Return the heads of a model: one for each target that no other target's head gives too.

    gives_charges: the charges are the model's, not a head's own.

    Raises UserError for a derivative where the backbone has none, for irreps that its last layer
    lacks, for a head that is not in `HEADS`, and for the spread of a property that is not asked
    for. Spreads are made last: every other weight is then the same with and without them.
    """
    asked = {target.name for target in targets}
    heads: dict[str, Head] = {}
    shown = with_company(targets)
    companions = {target.name: _companions(target, backbone, asked) for target in targets}
    given = {name for names in companions.values() for name in names}
    for target in sorted(targets, key=lambda target: bool(target.spread_of)):
        _refuse_impossible(target, backbone, shown)
        if not target.derived_from and target.name not in given:
            features = feature_spec(backbone, gives_charges=gives_charges)
            heads[target.name] = _make_head(target, backbone, features, companions[target.name])
    return heads


def _refuse_impossible(
    target: Property, backbone: BackboneBase, shown: Mapping[str, Property]
) -> None:
    if target.spread_of and target.spread_of not in shown:
        raise UserError(f"{target.name} is the spread of {target.spread_of}: ask for both")
    if target.spread_of and target.per_atom != shown[target.spread_of].per_atom:
        raise UserError(
            f"{target.name} and {target.spread_of} must both be of atoms or both of molecules; set "
            f"per_atom={str(not target.per_atom).lower()} for {target.name}"
        )
    if target.derived_from and not backbone.capabilities.forces:
        reason = backbone.capabilities.no_forces_reason
        raise UserError(f"{target.name} cannot be learned by this network: {reason}")


def irreps_of(target: Property) -> Irreps:
    """Return the irreps that the head of a property reads; none where it has no head."""
    return Irreps(() if target.derived_from else target.reads or target.irreps)


def _make_head(
    target: Property, backbone: BackboneBase, features: FeatureSpec, companions: tuple[str, ...]
) -> Head:
    name = _head_name(target, backbone)
    if name not in HEADS:
        raise UserError(
            f"property {target.name!r} names the head {name!r}; the heads are {', '.join(HEADS)}"
        )
    needed = irreps_of(target) if name == target.head else Irreps(target.irreps)
    missing = Irreps(irrep for irrep in needed if irrep not in backbone.irreps_out)
    if missing:
        raise UserError(
            f"{target.name} needs {missing}, which this network's last layer does not "
            f"have ({backbone.irreps_out}); "
            f"{backbone.advice}"
        )
    return HEADS[name](target, features, companions)


def _head_name(target: Property, backbone: BackboneBase) -> str:
    """Name the head of a property: an invariant needs no vectors where the backbone has none."""
    if target.spread_of:
        return target.head or "doubt"
    lacks_vectors = not backbone.capabilities.vectors and any(irreps_of(target).degrees)
    if target.head and not (target.is_invariant and lacks_vectors):
        return target.head
    return "sum" if target.extensive or target.per_atom else "mean"


def _companions(target: Property, backbone: BackboneBase, asked: set[str]) -> tuple[str, ...]:
    """Name what the head of a property gives beside it."""
    if target.head and _head_name(target, backbone) != target.head:
        return ()
    return (*target.gives, *(name for name in target.serves if name in asked))
