"""Dispersion beside a model that was trained without it."""

from __future__ import annotations

import copy
import dataclasses
import re

from molequi.errors import UserError
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.nn.physics import dispersion_parameters

# What names of methods say where dispersion is part of them: D2 to D4 and their damping, D3BJ;
# Tkatchenko and Scheffler's, many-body and non-local ones; composite methods, and B97-D.
_DISPERSION = re.compile(
    r"(?<![a-z0-9])d[234](?![0-9])(?=$|[^a-z]|bj|m|op|s|zero)"
    r"|\bts\b|vdw|-r?v\b|vv10|nl\b|mbd|xdm|xtb|-d\b|b97d|3c\b",
    re.ASCII | re.IGNORECASE,
)
_ENERGIES = ("energy", "forces", "stress")


def with_dispersion(model: MolecularModel, wish: str) -> MolecularModel:
    """Return a copy of a model whose energy holds D3(BJ) too; its name and level say so.

    wish: `d3bj:FUNCTIONAL`, or `d3bj` for the functional of the model's level of theory.
    Raises UserError for a model that has no energy, or dispersion already, and where the functional
    is not known.
    """
    kind, _, functional = wish.partition(":")
    if kind != "d3bj":
        raise UserError(f"dispersion is {wish!r}; use d3bj or d3bj:FUNCTIONAL, such as d3bj:pbe0")
    if "energy" not in model.outputs:
        raise UserError(f"dispersion is an energy; this model gives {', '.join(model.outputs)}")
    if model.physics.dispersion is not None:
        raise UserError(f"this model has dispersion already: {model.physics.text}")
    functional = functional or _functional_of(model.metadata.level_of("energy"))
    parameters = dispersion_parameters(functional)
    complete = copy.deepcopy(model)
    complete.set_physics(
        dataclasses.replace(model.physics, dispersion=parameters, functional=functional)
    )
    complete.metadata = _noted(model.metadata, functional)
    return complete


def _functional_of(level: str | None) -> str:
    """Return the functional that a level of theory such as `B3LYP/6-31G(2df,p)` begins with."""
    how = "name one whose D3(BJ) fits, such as d3bj:pbe0"
    if level is None:
        raise UserError(f"the model does not state its level of theory; {how}")
    if _DISPERSION.search(level):
        raise UserError(f"the model's level of theory, {level}, holds dispersion already")
    functional = level.partition("/")[0].strip()
    try:
        dispersion_parameters(functional)
    except UserError:
        raise UserError(
            f"the model's level of theory, {level}, names no functional; {how}"
        ) from None
    return functional


def _noted(metadata: ModelMetadata, functional: str) -> ModelMetadata:
    level, addition = metadata.level, f" + D3(BJ) of {functional}"
    if isinstance(level, str):
        level += addition
    else:
        level = {
            name: text + addition if name in _ENERGIES and text else text
            for name, text in level.items()
        }
    name = None if metadata.name is None else f"{metadata.name} + d3bj:{functional}"
    return dataclasses.replace(metadata, name=name, level=level)
