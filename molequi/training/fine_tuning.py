"""A trained model as the start of another run: which of its parts fit, and what it has to learn."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from ase.data import chemical_symbols
from torch import nn

from molequi.datasets.formats.tables import elements_of_smiles
from molequi.datasets.in_memory import Frames
from molequi.datasets.places import find_data
from molequi.errors import UserError
from molequi.models.checkpoint import describe, load_model, read_description
from molequi.models.enlarged import relative, with_elements
from molequi.models.ensemble import member
from molequi.models.grown import can_grow, grown
from molequi.models.molecular import MolecularModel
from molequi.models.physics import NO_PHYSICS, Physics
from molequi.models.zoo import resolve_model
from molequi.nn.heads.committee import CommitteeHead
from molequi.nn.heads.pooling import EnergyHead
from molequi.properties import Property
from molequi.training.config import Config
from molequi.training.total_charge import needs_charges

logger = logging.getLogger(__name__)


class Adopted(NamedTuple):
    """A model with a trained backbone.

    kept: the names of the heads that are trained too. added: elements that are new to all of them.
    """

    model: MolecularModel
    kept: Sequence[str] = ()
    added: Sequence[int] = ()


def adopt(config: Config, init: str, frames: Frames, outputs: Sequence[Property]) -> Adopted:
    """Take the backbone and the fitting heads of the model `init` for the named outputs.

    Elements that it does not know are added to it; a config that asks for a larger network gets it,
    where it can grow into one. Raises UserError where they would stay frozen,
    and where the config asks for another network. Of an ensemble the member of the number `seed` is
    taken: those of a new ensemble, whose seeds follow each other, begin from different ones.
    """
    source = member(load_model(resolve_model(init)), config.training.seed)
    _refuse_other_network(describe(source), config, init)
    source = _grown(source, config, init)
    added = sorted(set(frames.elements()) - set(source.elements))
    if added:
        refuse_frozen(added, source.elements, config)
        source = _with_elements(source, added, init)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        model = MolecularModel(
            source.backbone,
            [_as_read_by(source, row, outputs) for row in outputs],
            physics=_physics(source.physics, outputs, init),
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
    return Adopted(model.eval(), kept, added)


def refuse_unfit(config: Config) -> None:
    """Refuse what does not fit of an `init`, before the data are read and geometries made.

    Raises UserError where it is no model, or another network, or frozen and without an element of
    the SMILES.
    """
    if config.init is None:
        return
    description = read_description(resolve_model(config.init))
    _refuse_other_network(description, config, config.init)
    if config.freeze and config.data.path is not None:
        named = elements_of_smiles(find_data(config.data.path), config.data.smiles)
        refuse_frozen(named, description["elements"], config)


def refuse_frozen(found: Iterable[int], known: Sequence[int], config: Config) -> None:
    """Raise UserError for elements that a frozen network does not know."""
    added = sorted(set(found) - set(known))
    if added and config.freeze:
        raise UserError(
            f"init={config.init} does not know {_symbols(added)}, which the structures contain, "
            f"and freeze={config.freeze} would leave their weights untrained; it knows "
            f"{_symbols(known)}: leave freeze out"
        )


def _grown(source: MolecularModel, config: Config, init: str) -> MolecularModel:
    """Give a model the larger sizes that a config asks for, and say so."""
    before = _settings(describe(source))
    larger = {k: v for k, v in config.model.overrides().items() if before[k] != v}
    if not larger:
        return source
    logger.info(
        "init=%s grows, and gives at first what it gave: %s",
        init,
        ", ".join(f"{name} from {before[name]} to {value}" for name, value in larger.items()),
    )
    return grown(source, seed=config.training.seed, **larger)


def _with_elements(source: MolecularModel, added: Sequence[int], init: str) -> MolecularModel:
    """Add elements to a model, and say with which weights they begin."""
    begins = ", ".join(
        f"{chemical_symbols[number]} as {chemical_symbols[relative(number, source.elements)]}"
        for number in added
    )
    logger.warning("init=%s does not know %s: new elements begin %s", init, _symbols(added), begins)
    return with_elements(source, added)


def _physics(physics: Physics, outputs: Sequence[Property], init: str) -> Physics:
    """Return what stands beside the learned part of a model, as far as its outputs have use of it.

    That is the closed forms where there is an energy, and charges where something is made of them.
    """
    names = [row.name for row in outputs]
    if "energy" in names:
        return physics
    kept = Physics(charges=physics.charges) if needs_charges(names) else NO_PHYSICS
    if kept != physics:
        logger.info("of %s is left out what belongs to its energy: %s", init, physics.text)
    return kept


def _symbols(numbers: Iterable[int]) -> str:
    return " ".join(chemical_symbols[number] for number in numbers)


def _refuse_other_network(source: Mapping[str, Any], config: Config, init: str) -> None:
    """Refuse a config that asks for a network that the one described cannot grow into."""
    settings = _settings(source)
    physics = Physics.from_json(source.get("physics", {}))
    for name, value in config.model.overrides().items():
        # What is frozen would keep new weights as they begin.
        grows = can_grow(settings, name, value) and (not config.freeze or name == "n_readout")
        if settings.get(name) != value and not grows:
            raise UserError(
                f"init={init} has {name}={settings.get(name)}, the config has "
                f"model.{name}={value}; leave model.{name} out (model={{}} leaves all out), or "
                "train without init"
            )
    if config.model.has_physics and config.model.physics() != physics:
        raise UserError(
            f"init={init} has {physics.text}, the config asks for "
            f"{config.model.physics().text}; leave the model section out (model={{}}), or train "
            "without init"
        )


def _settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the config of a described network would say of it."""
    return {"architecture": description["architecture"], **description["backbone"]}


def _as_read_by(source: MolecularModel, row: Property, outputs: Sequence[Property]) -> Property:
    """Return an output with the source's kind of head: that of an imported model is its own.

    A training on energies of atoms needs the head that knows their constants.
    """
    if row.members > 1:
        return row
    own = source.properties.get(row.name)
    is_same = own is not None and row.name in source.heads and own.irreps == row.irreps
    if own is None or not is_same or any(other.name in row.serves for other in outputs):
        return row
    return row if own.head == row.head else dataclasses.replace(row, head=own.head, gives=own.gives)


def _copy_heads(old: nn.ModuleDict, new: nn.ModuleDict) -> list[str]:
    """Copy the weights of heads of one name and type, and into a committee; returns the names."""
    kept = [name for name, head in new.items() if name in old and type(head) is type(old[name])]
    widened = []
    for name, head in new.items():
        before = old[name] if name in old else None
        if isinstance(head, CommitteeHead) and type(before) is EnergyHead:
            head.begin_from(before)
            widened.append(name)
    renewed = sorted(set(old) & set(new) - set(kept) - set(widened))
    if renewed:
        logger.warning(
            "readouts of another kind than a training has, of which nothing is kept: %s",
            ", ".join(renewed),
        )
    for name in kept:
        # What a head has for its companions alone may be new, or no longer needed.
        new[name].load_state_dict(old[name].state_dict(), strict=False)
    return [*kept, *widened]
