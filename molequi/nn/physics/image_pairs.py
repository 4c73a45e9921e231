"""Every pair of atoms once: of molecules all, of crystals the images within a cutoff."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.errors import NotComputableError
from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import neighbor_pairs


class AtomPairs(NamedTuple):
    """Pairs of atoms, each once: `first` and `second` (P,), `distances` (P,), Å.

    The distance of coincident atoms is 1e-10 Å, without a derivative.
    """

    first: Tensor
    second: Tensor
    distances: Tensor

    def halves(self, energies: Tensor, n_atoms: int) -> Tensor:
        """Give half of each pair's energy (P,) to each of its atoms: (N,)."""
        shared = energies.new_zeros(n_atoms)
        return (
            shared.index_add(0, self.first, energies).index_add(0, self.second, energies).mul(0.5)
        )


def refuse_slabs(pbc: Tensor) -> None:
    """Refuse structures that are periodic in one or two directions.

    pbc: (B, 3), bool. Raises NotComputableError naming the first, where there are several.
    """
    partial = pbc.any(dim=1) & ~pbc.all(dim=1)
    if bool(partial.any()):
        where = int(partial.nonzero()[0, 0])
        name = f" of structure {where}" if len(pbc) > 1 else ""
        raise NotComputableError(
            f"pbc{name} is {pbc[where].tolist()}: long-range energies are of structures that are "
            "periodic in all three directions or in none; set pbc to all true with a thick layer "
            "of vacuum, or to all false"
        )


def molecular_pairs(graph: AtomGraph) -> AtomPairs:
    """Return all pairs of atoms of the same molecule, periodic structures excepted."""
    positions, batch = graph.positions, graph.batch
    counts = torch.bincount(batch, minlength=graph.n_molecules)
    ends = counts.cumsum(0)[batch]
    atoms = torch.arange(graph.n_atoms, device=positions.device)
    partners = (ends - 1 - atoms).masked_fill(graph.pbc.any(dim=1)[batch], 0)
    first = atoms.repeat_interleave(partners)
    place = torch.arange(len(first), device=positions.device)
    second = place - (partners.cumsum(0) - partners).index_select(0, first) + first + 1
    difference = positions.index_select(0, second) - positions.index_select(0, first)
    return AtomPairs(first, second, lengths(difference))


def image_pairs(positions: Tensor, cell: Tensor, cutoff: float) -> AtomPairs:
    """Return the pairs of images closer than `cutoff` (Å) in one crystal.

    positions: (N, 3), Å. cell: (3, 3), Å. An atom and an image of itself are a pair of their own;
    of the two that mirror each other one is given.
    """
    found = neighbor_pairs(
        positions.detach().cpu().numpy(),
        cutoff,
        cell=cell.detach().cpu().numpy(),
        pbc=np.ones(3, dtype=bool),
    )
    sender, receiver = found.edge_index
    one_of_two = (receiver < sender) | ((receiver == sender) & _leads(found.shifts))
    first, second, shifts = (
        torch.from_numpy(np.ascontiguousarray(values[one_of_two])).to(positions.device)
        for values in (receiver, sender, found.shifts)
    )
    difference = positions.index_select(0, second) - positions.index_select(0, first)
    return AtomPairs(first, second, lengths(difference + shifts.to(positions.dtype) @ cell))


def _leads(shifts: np.ndarray) -> np.ndarray:
    """Whether the first count that is not zero is positive: true of one of n and -n."""
    x, y, z = shifts.T
    return (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))


def lengths(vectors: Tensor) -> Tensor:
    """Return the lengths of vectors (P, 3), at least 1e-10, with derivatives that are never NaN."""
    return vectors.square().sum(dim=1).clamp(min=1e-20).sqrt()
