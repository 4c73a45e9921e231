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
from molequi.models.importers import mace_weights as weights
from molequi.models.importers.mace_settings import (
    head_index,
    heads_of,
    refuse_unsupported,
    settings_of,
)
from molequi.models.importers.source import Source, read_source
from molequi.models.metadata import ModelMetadata, Origin
from molequi.models.molecular import MolecularModel
from molequi.models.reference import difference_from, make_reference
from molequi.nn.backbones.mace import MaceBackbone
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES

logger = logging.getLogger(__name__)

# What energy and forces may differ by, of the largest force or 1 eV/Å, where the original is in
# float64, or in float32, which has rounded its coupling coefficients too.
_AGREEMENT = {torch.float64: 1e-9, torch.float32: 1e-5}
# What splines of the radial networks may change in them. Where they do more, predictions run the
# networks.
_SPLINES = 1e-5


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
    elements = [int(number) for number in source.tensor("atomic_numbers")]
    backbone = MaceBackbone(elements, **settings_of(source), irreps_out=Irreps("0e"))
    energies = weights.reference_energies(source, which)
    isolated = {chemical_symbols[z]: float(energies[z]) for z in elements}
    model = MolecularModel(
        backbone,
        [dataclasses.replace(PROPERTIES["energy"], head="layered_energy")],
        metadata=ModelMetadata(isolated_atom_energies=isolated),
    ).to(torch.float64)
    found = {
        **_named("backbone", weights.backbone_weights(source, backbone)),
        **_named("heads.energy", weights.energy_weights(source, which)),
        "heads.energy.reference": energies,
    }
    model.load_state_dict(found)
    model.eval().requires_grad_(False)
    dtype, reference = source.tensors["r_max"].dtype, _reference(source, which)
    difference = difference_from(reference, model, relative=_AGREEMENT[dtype])
    if difference is not None:
        raise UserError(f"this model is not read rightly: {difference}; please report it")
    own = make_reference(model)
    if own is not None and difference_from(own, model.freeze(), relative=_SPLINES) is not None:
        backbone.settings["radial_splines"] = False
    return Imported(model.to(dtype), reference)


def _named(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _lacks_forces(source: Source) -> bool:
    """Say whether the original's forces are no gradient: torch keeps none of its polynomials."""
    return source.modules["radial_embedding.bessel_fn"]["class"] == "ChebychevBasis"


def _reference(source: Source, head: int) -> dict[str, Any]:
    """Return the structure that a model file carries, with what the original gives for it."""
    found = source.reference
    values = {"energy": [found["energies"][head]], "forces": found["forces"][head]}
    if _lacks_forces(source):
        del values["forces"]
    return {
        "numbers": found["numbers"],
        "positions": found["positions"],
        "charge": 0,
        "multiplicity": 1,
        "values": values,
    }
