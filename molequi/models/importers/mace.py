"""A MACE model as one of ours, proved to give the same numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ase.data import chemical_symbols

from molequi.errors import UserError
from molequi.models.checkpoint import save_model
from molequi.models.importers import mace_readouts as readouts
from molequi.models.importers.mace_settings import (
    head_index,
    heads_of,
    properties_of,
    refuse_unsupported,
    settings_of,
)
from molequi.models.importers.mace_weights import backbone_weights
from molequi.models.importers.source import Source, read_source
from molequi.models.metadata import ModelMetadata, Origin
from molequi.models.molecular import MolecularModel
from molequi.models.reference import difference_from, make_reference
from molequi.nn.backbones.mace import MaceBackbone
from molequi.o3.irreps import Irreps
from molequi.properties import DEBYE, PROPERTIES

logger = logging.getLogger(__name__)

# What energy and forces may differ by, of the largest force or 1 eV/Å, where the original is in
# float64, or in float32, which has rounded its coupling coefficients too.
_AGREEMENT = {torch.float64: 1e-9, torch.float32: 1e-5}
# What splines of the radial networks may change in them. Where they do more, predictions run the
# networks.
_SPLINES = 1e-5


# The properties of MACE models. Dipoles are in debye, as those of fixed charges that mace-torch
# 0.3.16 adds to them (`utils.compute_fixed_charge_dipole`); such charges are none of the model's.
_ROWS = {
    "energy": dataclasses.replace(PROPERTIES["energy"], head="layered_energy"),
    "dipole": dataclasses.replace(
        PROPERTIES["dipole"], head="layered_dipole", gives=("dipole_magnitude",)
    ),
}


class Imported(NamedTuple):
    """A model in the precision of the original, and a structure with what that gives for it."""

    model: MolecularModel
    reference: dict[str, Any]


def import_mace(
    path: Path,
    output: Path,
    *,
    python: str,
    head: str | None = None,
    licence: str = "",
    multiplicities: Sequence[int] = (1,),
    radial_splines: bool = True,
) -> MolecularModel:
    """Read a MACE model file and write it as one of ours; return the model.

    python: the interpreter in which mace-torch is installed, see `read_source`. head: see
    `convert`. licence: of the weights, kept in the file. multiplicities: those that the training
    data of the original held; MACE sees neither spin nor charge, and others are refused by name.
    radial_splines: predictions take splines through the radial networks, see `MaceBackbone`, unless
    these change the structure's forces by more than 1e-5 of the largest.
    """
    source = read_source(path, python)
    model, reference = convert(source, head)
    _warn(source, model, path)
    if not radial_splines:
        model.backbone.settings["radial_splines"] = False
    origin = Origin(
        program=" ".join(("mace-torch", source.versions["mace-torch"])),
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        heads=tuple(heads_of(source)),
        head=heads_of(source)[head_index(source, head)],
        licence=licence,
    )
    states = tuple((0, multiplicity) for multiplicity in sorted(set(multiplicities)))
    model.metadata = dataclasses.replace(
        model.metadata, name=path.stem, origin=origin, charge_multiplicity=states
    )
    save_model(model, output, reference=reference)
    return model


def _warn(source: Source, model: MolecularModel, path: Path) -> None:
    """Say what of a model is otherwise than its user may think."""
    if not model.backbone.settings["radial_splines"]:
        logger.warning(
            "splines of the radial networks of %s would change its forces; predictions run the "
            "networks on every pair of atoms, which is slower",
            path,
        )
    if _lacks_forces(source):
        logger.warning(
            "%s has Chebyshev polynomials, which torch does not differentiate: forces of MACE lack "
            "a part, and those of the new model, the gradient of the same energy, are others; "
            "compare both with reference forces before you use it",
            path,
        )


def convert(source: Source, head: str | None = None) -> Imported:
    """Return our model of a source.

    head: the name of one, needed where the original has several. Raises UserError for what is not
    supported, naming it, and where the numbers are not those of the original.
    """
    refuse_unsupported(source)
    which = head_index(source, head)
    backbone, model = _with_weights(source, which)
    dtype = source.tensors["node_embedding.linear.weight"].dtype
    reference = _reference(source, which)
    difference = difference_from(reference, model, relative=_AGREEMENT[dtype])
    if difference is not None:
        raise UserError(f"this model is not read rightly: {difference}; please report it")
    own = make_reference(model, _extremes(backbone) if backbone.has_pairs else None)
    if own is not None and difference_from(own, model.freeze(), relative=_SPLINES) is not None:
        backbone.settings["radial_splines"] = False
    return Imported(model.to(dtype), reference)


def _with_weights(source: Source, head: int) -> tuple[MaceBackbone, MolecularModel]:
    """Return our model in float64, its backbone first."""
    names, elements = properties_of(source), source.tensor("atomic_numbers").tolist()
    irreps_out = Irreps("0e+1o" if "dipole" in names else "0e")
    backbone = MaceBackbone(elements, **settings_of(source), irreps_out=irreps_out)
    weights, isolated = _named("backbone", backbone_weights(source, backbone)), {}
    if "energy" in names:
        of_energy = readouts.energy_weights(source, head)
        weights |= _named("heads.energy", of_energy)
        isolated = {chemical_symbols[z]: float(of_energy["reference"][z]) for z in elements}
    if "dipole" in names:
        weights |= _named("heads.dipole", readouts.dipole_weights(source, DEBYE))
    metadata = ModelMetadata(isolated_atom_energies=isolated)
    model = MolecularModel(backbone, [_ROWS[name] for name in names], metadata=metadata)
    model.to(torch.float64).load_state_dict(weights)
    return backbone, model.eval().requires_grad_(False)


def _extremes(backbone: MaceBackbone) -> list[int]:
    """Return the elements of the smallest, the middle and the largest covalent radius."""
    order = backbone.basis.radii.argsort().tolist()
    return [backbone.elements[order[k]] for k in sorted({0, len(order) // 2, len(order) - 1})]


def _named(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _lacks_forces(source: Source) -> bool:
    """Say whether the original's forces are no gradient: torch keeps none of its polynomials."""
    return source.modules["radial_embedding.bessel_fn"]["class"] == "ChebychevBasis"


def _reference(source: Source, head: int) -> dict[str, Any]:
    """Return the structure that a model file carries, with what the original gives for it."""
    found, values = source.reference, {}
    if "energy" in properties_of(source):
        values = {"energy": [found["energies"][head]], "forces": found["forces"][head]}
    if "dipole" in properties_of(source):
        values["dipole"] = [[DEBYE * component for component in found["dipoles"][head]]]
    if _lacks_forces(source):
        values.pop("forces", None)
    return {
        "numbers": found["numbers"],
        "positions": found["positions"],
        "charge": 0,
        "multiplicity": 1,
        "values": values,
    }
