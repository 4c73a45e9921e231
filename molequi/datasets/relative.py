"""The same atoms elsewhere: what energies of conformers, isomers and barriers are relative to.

A relative energy is E(x) - E(x') of the same atoms at positions x and x' (`other_positions`, Å).
Those of conformers are tenths of an eV and less, while energies of molecules are off by as much as
they differ: a model that learns totals alone learns the molecules first. As with interactions (see
`pieces`) the difference itself is compared, and no label of the other structure is needed.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from molequi.datasets.contacts import refuse_coincident
from molequi.datasets.in_memory import Frames
from molequi.datasets.subtracted import Subtracted
from molequi.errors import UserError

RELATIVE_ENERGY, OTHER_POSITIONS = "relative_energy", "other_positions"


def elsewhere(frames: Frames, indices: Tensor, cutoff: float) -> Subtracted | None:
    """Return the structures among `indices` that have other positions, there; None without any.

    In the same cell, with the same charge and multiplicity.
    """
    if OTHER_POSITIONS not in frames.targets:
        return None
    chosen = frames.subset(indices)
    is_told = _complete(chosen)
    if not is_told.any():
        return None
    there = chosen.subset(is_told)
    positions, there = there.targets[OTHER_POSITIONS], there.with_targets(())
    there = dataclasses.replace(there, positions=positions)
    graph = there.batch(torch.arange(len(there)), cutoff).graph
    return Subtracted(graph, torch.nonzero(is_told)[:, 0])


def check_elsewhere(frames: Frames) -> None:
    """Raise UserError for a relative energy that is not told what it is relative to.

    And for other positions where atoms lie on each other, as those that are zero for want of any.
    """
    if RELATIVE_ENERGY not in frames.targets:
        return
    is_bad = ~torch.isnan(frames.targets[RELATIVE_ENERGY]) & ~_complete(frames)
    if is_bad.any():
        first = frames.label(int(torch.nonzero(is_bad)[0]))
        raise UserError(
            f"{first} has {RELATIVE_ENERGY}, but the {OTHER_POSITIONS} that it is relative to are "
            "missing; give one for every atom, in Å, in the order of the atoms"
        )
    # All structures, so that they are named by their numbers; the others where they stand.
    told = frames.targets[OTHER_POSITIONS]
    positions = torch.where(torch.isnan(told), frames.positions, told)
    try:
        refuse_coincident(dataclasses.replace(frames, positions=positions))
    except UserError as error:
        raise UserError(f"{OTHER_POSITIONS} of {error}") from error


def _complete(frames: Frames) -> Tensor:
    """Tell for which structures the other position of every atom is known: (B,)."""
    unknown = torch.isnan(frames.targets[OTHER_POSITIONS]).any(dim=1)
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    return torch.bincount(owner[unknown], minlength=len(frames)) == 0
