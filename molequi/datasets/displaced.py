"""Structures moved forth and back along their displacements: what changes of forces are made of.

A column of the force Jacobian J = dF/dx along d is, by the central difference
  J d / |d| = (F(x + d) - F(x - d)) / 2|d| + O(|d|^2),
and its label is the right-hand side (`force_changes`, eV/Å²) for the displacement of all atoms that
is stored with it (`displacements`, Å). Comparing the same difference of a model's forces is exact
where the label is such a difference too, and needs no derivative beyond those of a loss on forces:
two more structures per label, where J d itself would be differentiated a third time. Labels that
are analytic columns belong with a short d, 0.01 Å say.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import join_frames
from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph

FORCE_CHANGES, DISPLACEMENTS = "force_changes", "displacements"


class Displaced(NamedTuple):
    """The structures of a batch that have a displacement d, moved by it.

    graph: of M structures at x + d, then of the same at x - d. rows: (P,), their atoms among those
    of the batch.
    """

    graph: AtomGraph
    rows: Tensor

    def to(self, device: torch.device) -> Displaced:
        """Move to a device."""
        return Displaced(self.graph.to(device), self.rows.to(device))

    def changes(self, forces: Tensor, n_atoms: int) -> Tensor:
        """Return (F(x + d) - F(x - d)) / 2|d| of the atoms of the batch: (N, 3), eV/Å².

        forces: (2P, 3), of `graph`, eV/Å. Atoms of structures without displacement get 0.
        """
        n_moved, n_frames = len(self.rows), self.graph.n_molecules // 2
        forth, back = self.graph.positions.detach().split(n_moved)
        owner = self.graph.batch[:n_moved]
        squared = forth.new_zeros(n_frames).index_add(0, owner, (forth - back).square().sum(dim=1))
        plus, minus = forces.split(n_moved)
        slopes = (plus - minus) / squared.sqrt()[owner, None].to(forces.dtype)
        return slopes.new_zeros(n_atoms, 3).index_add(0, self.rows, slopes)


def displaced(frames: Frames, indices: Tensor, cutoff: float) -> Displaced | None:
    """Return the structures among `indices` that have a displacement, moved; None without any."""
    if DISPLACEMENTS not in frames.targets:
        return None
    chosen = frames.subset(indices)
    has_displacement = _complete(chosen)
    if not has_displacement.any():
        return None
    rows = torch.nonzero(has_displacement.repeat_interleave(chosen.n_atoms))[:, 0]
    moved = chosen.subset(has_displacement)
    displacement, moved = moved.targets[DISPLACEMENTS], moved.with_targets(())
    ends = [
        dataclasses.replace(moved, positions=moved.positions + sign * displacement)
        for sign in (1.0, -1.0)
    ]
    both = join_frames(ends)
    return Displaced(both.batch(torch.arange(len(both)), cutoff).graph, rows)


def check_displacements(frames: Frames) -> None:
    """Raise UserError for a change of forces whose displacement is missing or zero."""
    if FORCE_CHANGES not in frames.targets:
        return
    labelled = ~torch.isnan(frames.targets[FORCE_CHANGES]).any(dim=1)
    lengths = frames.targets[DISPLACEMENTS].nan_to_num().square().sum(dim=1)
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    lengths = torch.zeros(len(frames), dtype=torch.float64).index_add(0, owner, lengths)
    is_bad = torch.zeros(len(frames), dtype=torch.bool)
    is_bad[owner[labelled]] = True
    is_bad &= ~_complete(frames) | (lengths == 0)
    if is_bad.any():
        first = frames.label(int(torch.nonzero(is_bad)[0]))
        raise UserError(
            f"{first} has {FORCE_CHANGES}, but the {DISPLACEMENTS} that they belong to are missing "
            "or zero; give one for every atom, in Å"
        )


def _complete(frames: Frames) -> Tensor:
    """Tell for which structures the displacement of every atom is known: (B,)."""
    unknown = torch.isnan(frames.targets[DISPLACEMENTS]).any(dim=1)
    owner = torch.repeat_interleave(torch.arange(len(frames)), frames.n_atoms)
    return torch.bincount(owner[unknown], minlength=len(frames)) == 0
