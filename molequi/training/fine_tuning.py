"""A trained model as the start of another run: which of its parts fit, and its energies' zero."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from ase.data import chemical_symbols
from torch import nn

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.models.checkpoint import load_model
from molequi.models.molecular import MolecularModel
from molequi.models.zoo import resolve_model
from molequi.properties import Property
from molequi.training.config import Config
from molequi.training.normalization import heads_of
from molequi.training.predictions import predict_frames
from molequi.training.reference_energies import composition, fit_references

logger = logging.getLogger(__name__)


class Adopted(NamedTuple):
    """A model with a trained backbone, and the names of the heads that are trained too."""

    model: MolecularModel
    kept: list[str]


def adopt(config: Config, init: str, frames: Frames, outputs: Sequence[Property]) -> Adopted:
    """Take the backbone and the fitting heads of the model `init` for the named outputs.

    Raises UserError for elements that it does not know, and where the config asks for another
    network.
    """
    source = load_model(resolve_model(init))
    _refuse_new_elements(source, frames, init)
    _refuse_other_network(source, config, init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        model = MolecularModel(
            source.backbone,
            [_as_read_by(source, row, outputs) for row in outputs],
            physics=source.physics,
            metadata=source.metadata,
        ).to(source.dtype)
    if model.equilibration is not None and source.equilibration is not None:
        model.equilibration.load_state_dict(source.equilibration.state_dict())
    kept = _copy_heads(source.heads, model.heads)
    derived = {name for name, row in source.properties.items() if row.derived_from}
    dropped = sorted(set(source.outputs) - {row.name for row in outputs} - derived)
    if dropped:
        logger.info(
            "outputs of %s that are not trained here are dropped: %s", init, ", ".join(dropped)
        )
    return Adopted(model.eval(), kept)


def refit_references(
    model: MolecularModel,
    frames: Frames,
    names: Sequence[str],
    given: Mapping[str, Mapping[int, float]],
) -> None:
    """Move the reference energies of the named totals to the level of theory of `frames`.

    There the trained network fits them best. given: by name and atomic number, what is not fitted.
    """
    for name in names:
        head = heads_of(model)[name]
        old = head.reference.to("cpu", torch.float64)
        counts, elements = composition(frames)
        learned = predict_frames(model, frames, [name])[name] - counts @ old[elements]
        totals = frames.targets[name] - learned
        fitted = fit_references(frames, totals, around=old, given=given.get(name))
        head.reference.copy_(fitted.values)
        logger.info(
            "%s: reference energies refitted (rank %d of %d elements)",
            name,
            fitted.rank,
            fitted.n_elements,
        )


def _refuse_new_elements(source: MolecularModel, frames: Frames, init: str) -> None:
    unknown = [number for number in frames.elements() if number not in source.elements]
    if unknown:
        new, known = (
            " ".join(chemical_symbols[number] for number in numbers)
            for numbers in (unknown, source.elements)
        )
        raise UserError(
            f"init={init} does not know {new}, which the training structures contain; it knows "
            f"{known}: train without init"
        )


def _refuse_other_network(source: MolecularModel, config: Config, init: str) -> None:
    settings = {"architecture": source.backbone.architecture, **source.backbone.settings}
    for name, value in config.model.overrides().items():
        if settings.get(name) != value:
            raise UserError(
                f"init={init} has {name}={settings.get(name)}, the config has "
                f"model.{name}={value}; leave the model section out, or train without init"
            )
    if config.model.has_physics and config.model.physics() != source.physics:
        raise UserError(
            f"init={init} has {source.physics.text}, the config asks for "
            f"{config.model.physics().text}; leave the model section out, or train without init"
        )


def _as_read_by(source: MolecularModel, row: Property, outputs: Sequence[Property]) -> Property:
    """Return an output with the source's kind of head: that of an imported model is its own.

    A training on energies of atoms needs the head that knows their constants.
    """
    own = source.properties.get(row.name)
    is_same = own is not None and row.name in source.heads and own.irreps == row.irreps
    if own is None or not is_same or any(other.name in row.serves for other in outputs):
        return row
    return dataclasses.replace(row, head=own.head)


def _copy_heads(old: nn.ModuleDict, new: nn.ModuleDict) -> list[str]:
    """Copy the weights of heads of one name and type; returns the names."""
    kept = [name for name, head in new.items() if name in old and type(head) is type(old[name])]
    renewed = sorted(set(old) & set(new) - set(kept))
    if renewed:
        logger.warning(
            "readouts of another kind than a training has, of which nothing is kept: %s",
            ", ".join(renewed),
        )
    for name in kept:
        # What a head has for its companions alone may be new, or no longer needed.
        new[name].load_state_dict(old[name].state_dict(), strict=False)
    return kept
