"""Verlet lists: neighbour pairs of one moving structure, with a skin.

Pairs are searched anew only when an unlisted one may have come into reach.

The list holds all pairs closer than cutoff + skin. Let F map the periodic cell vectors of the
search onto today's, u_i be what atom i moved beyond that map, and strain = |F - 1| (largest
singular value). A pair outside the list is still at least (cutoff + skin)(1 - strain) - 2 max|u|
apart, so the list is complete while

    2 max|u| + strain (cutoff + skin) <= skin.

An atom that is wrapped into another cell has moved by a cell vector, so wrapping leads to a new
search by the same rule.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from molequi.errors import UserError
from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import neighbor_pairs
from molequi.runtime.modes import own_modes

# Exactly zero is wanted for an unchanged cell; below this the change is rounding.
_SAME_CELL = 1e-15


class _Search(NamedTuple):
    """The last search and what it was made for; edges are sorted by receiver, sender, shift.

    `numbers`, `periodic` and `batch` are for the graph.
    """

    positions: np.ndarray
    atomic_numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    sender: np.ndarray
    receiver: np.ndarray
    shifts: np.ndarray
    receiver_ptr: np.ndarray
    sender_order: np.ndarray
    numbers: torch.Tensor
    periodic: torch.Tensor
    batch: torch.Tensor


class VerletList:
    """Neighbour pairs that follow one structure through a simulation.

    cutoff: Å. skin: Å; 0 searches at every change. `n_searches` counts the searches made so far.
    Each instance belongs to one simulation and one thread.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        if not (
            isinstance(skin, int | float | np.number) and 0 < cutoff < np.inf and 0 <= skin < np.inf
        ):
            raise UserError(
                f"cutoff is {cutoff} Å and skin {skin!r} Å; the cutoff must be positive, the skin "
                "at least 0, and both finite numbers"
            )
        self.cutoff = cutoff
        self.skin = skin
        self.n_searches = 0
        self._search: _Search | None = None

    @own_modes()
    def graph(
        self,
        positions: np.ndarray,
        atomic_numbers: np.ndarray,
        *,
        cell: np.ndarray | None = None,
        pbc: np.ndarray | None = None,
        total_charge: int = 0,
        spin_multiplicity: int = 1,
    ) -> AtomGraph:
        """Return the graph of today's structure with exactly the pairs closer than the cutoff.

        Arguments, edges and errors are those of `neighbors.build_graph`; the order of the edges
        depends on the structure alone.
        """
        positions = np.array(positions, dtype=np.float64).reshape(-1, 3)
        cell = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
        pbc = np.zeros(3, dtype=bool) if pbc is None else np.array(pbc, dtype=bool)
        search = self._search
        if search is None or not self._is_complete(search, positions, atomic_numbers, cell, pbc):
            search = self._search = _search_pairs(
                positions,
                np.array(atomic_numbers, dtype=np.int64),
                cell,
                pbc,
                self.cutoff + self.skin,
            )
            self.n_searches += 1
        return _compact(search, positions, cell, self.cutoff, total_charge, spin_multiplicity)

    def _is_complete(
        self,
        search: _Search,
        positions: np.ndarray,
        atomic_numbers: np.ndarray,
        cell: np.ndarray,
        pbc: np.ndarray,
    ) -> bool:
        if not (
            np.array_equal(search.atomic_numbers, atomic_numbers)
            and np.array_equal(search.pbc, pbc)
        ):
            return False
        moved, strain = positions - search.positions, 0.0
        if pbc.any() and np.abs(cell - search.cell).max() > _SAME_CELL:
            deformation = np.linalg.pinv(search.cell[pbc]) @ (cell - search.cell)[pbc]
            strain = float(np.linalg.norm(deformation, 2))
            moved = moved - search.positions @ deformation
        farthest = float(np.sqrt(np.einsum("ij,ij->i", moved, moved).max(initial=0.0)))
        # Written so that NaN means a new search, which reports the atom.
        return 2.0 * farthest + strain * (self.cutoff + self.skin) <= self.skin


def _search_pairs(
    positions: np.ndarray,
    atomic_numbers: np.ndarray,
    cell: np.ndarray,
    pbc: np.ndarray,
    reach: float,
) -> _Search:
    pairs = neighbor_pairs(positions, reach, cell=cell, pbc=pbc)
    sender, receiver = pairs.edge_index
    # Shifts too, because the pairs of a simulation that is continued must come in the same order.
    order = np.lexsort((*pairs.shifts.T[::-1], sender, receiver))
    sender, receiver, shifts = sender[order], receiver[order], pairs.shifts[order]
    receiver_ptr = np.concatenate([[0], np.cumsum(np.bincount(receiver, minlength=len(positions)))])
    tensors = (
        torch.tensor(atomic_numbers),
        torch.tensor(pbc)[None],
        torch.zeros(len(positions), dtype=torch.int64),
    )
    return _Search(
        positions,
        atomic_numbers,
        cell,
        pbc,
        sender,
        receiver,
        shifts,
        receiver_ptr,
        np.argsort(sender, kind="stable"),
        *tensors,
    )


def _compact(
    search: _Search,
    positions: np.ndarray,
    cell: np.ndarray,
    cutoff: float,
    total_charge: int,
    spin_multiplicity: int,
) -> AtomGraph:
    """Keep the pairs closer than the cutoff, in order.

    Row pointers and the senders' order follow by counting, without a sort.
    """
    difference = positions.take(search.sender, axis=0) - positions.take(search.receiver, axis=0)
    if search.pbc.any():
        difference += search.shifts @ cell
    near = np.einsum("ei,ei->e", difference, difference) < cutoff * cutoff
    # kept_before[e]: how many edges before e are kept, which is the new index of e.
    kept_before = np.concatenate([[0], np.cumsum(near)])
    order = search.sender_order
    return AtomGraph(
        positions=torch.from_numpy(positions),
        atomic_numbers=search.numbers,
        edge_index=torch.from_numpy(np.stack([search.sender[near], search.receiver[near]])),
        shifts=torch.from_numpy(search.shifts[near]),
        cell=torch.from_numpy(cell)[None],
        pbc=search.periodic,
        batch=search.batch,
        total_charge=torch.tensor([total_charge]),
        spin_multiplicity=torch.tensor([spin_multiplicity]),
        receiver_ptr=torch.from_numpy(kept_before[search.receiver_ptr]),
        sender_order=torch.from_numpy(kept_before[order[near[order]]]),
    )
