"""Charges and multiplicities that a network does not see, though the structures differ in them."""

from __future__ import annotations

import logging
from typing import NamedTuple

import torch

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.structures.symbols import formula_of

logger = logging.getLogger(__name__)

_CHARGES, _MULTIPLICITIES = "total charges", "multiplicities"
_REMEDIES = {
    _CHARGES: "model.charges=equilibrated makes the charge an input of a new network",
    _MULTIPLICITIES: "train one model for each",
}
# What is made of charges that flow, which add up to the total charge.
_OF_CHARGES = {"charges", "dipole", "dipole_magnitude"}


class Unseen(NamedTuple):
    """What a network does not see of a formula: the name of a state and the values it has there."""

    name: str
    formula: str
    values: tuple[int, ...]


def warn_of_unseen_states(model: MolecularModel, frames: Frames) -> None:
    """Warn where one formula comes in several states that the model does not tell apart.

    Ions of another formula than their molecule are told apart by their atoms, and pass.
    """
    sees_charge = model.equilibration is not None or _OF_CHARGES.issuperset(model.outputs)
    for found in unseen_states(frames, sees_charge=sees_charge):
        logger.warning(
            "%s comes in several %s (%s), which this network does not see: one geometry gets one "
            "value; %s",
            found.formula,
            found.name,
            ", ".join(map(str, found.values)),
            _REMEDIES[found.name],
        )


def unseen_states(frames: Frames, *, sees_charge: bool) -> list[Unseen]:
    """Return the first formula that comes in several total charges, and in several multiplicities.

    Charges are left out where they are seen; multiplicities are compared within one charge.
    """
    species = torch.tensor(frames.elements())
    counts = torch.zeros(len(frames), len(species), dtype=torch.int64)
    rows = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    columns = torch.searchsorted(species, frames.atomic_numbers)
    counts.index_put_((rows, columns), torch.ones_like(rows), accumulate=True)
    charged = torch.cat([counts, frames.total_charge[:, None]], dim=1)
    found = [] if sees_charge else _several(_CHARGES, frames, counts, frames.total_charge)
    return [*found, *_several(_MULTIPLICITIES, frames, charged, frames.spin_multiplicity)]


def _several(name: str, frames: Frames, keys: torch.Tensor, states: torch.Tensor) -> list[Unseen]:
    """Return the first of the `keys` (B, K) whose structures have several `states` (B,), if any."""
    of_key = torch.unique(keys, dim=0, return_inverse=True)[1]
    pairs = torch.unique(torch.stack([of_key, states], dim=1), dim=0)
    several = (torch.bincount(pairs[:, 0]) > 1)[of_key].nonzero()
    if not len(several):
        return []
    first = int(several[0])
    values = states[of_key == of_key[first]].unique().tolist()
    start, end = frames.offsets[first : first + 2].tolist()
    formula = formula_of(frames.atomic_numbers[start:end].tolist())
    return [Unseen(name, formula, tuple(values))]
