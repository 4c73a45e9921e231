"""One graph of many small open molecules, as fast as a training loop asks for them.

The same result as `neighbors.build_graph` of each and `graph.collate`, without sorting: candidate
pairs are laid out receiver by receiver, so the edges come in order; and because every pair occurs
in both directions, the edge that comes m-th when sorted by sender is the reverse of the m-th edge.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from molequi.graphs.graph import AtomGraph
from molequi.runtime.modes import own_modes


@own_modes()
def graph_of_molecules(
    positions: np.ndarray,
    atomic_numbers: torch.Tensor,
    counts: np.ndarray,
    cutoff: float,
    *,
    cell: torch.Tensor,
    pbc: torch.Tensor,
    total_charge: torch.Tensor,
    spin_multiplicity: torch.Tensor,
) -> AtomGraph:
    """Build the graph of molecules with open boundaries.

    positions: (N, 3), float64, Å, finite, the molecules one after the other. counts: (B,), atoms of
    each. cutoff: Å.
    cell: (B, 3, 3), Å, and pbc: (B, 3), all False, are only carried along, as are total_charge and
    spin_multiplicity, (B,).
    """
    pairs = _candidates(counts)
    near = _near(positions, pairs, cutoff)
    sender, receiver, number = pairs.sender[near], pairs.receiver[near], np.cumsum(near) - 1
    pointers = np.zeros(len(positions) + 1, dtype=np.int64)
    np.cumsum(np.bincount(receiver, minlength=len(positions)), out=pointers[1:])
    return AtomGraph(
        positions=torch.from_numpy(positions),
        atomic_numbers=atomic_numbers,
        edge_index=torch.from_numpy(np.stack([sender, receiver])),
        shifts=torch.zeros(len(sender), 3, dtype=torch.int64),
        cell=cell,
        pbc=pbc,
        batch=torch.from_numpy(np.repeat(np.arange(len(counts)), counts)),
        total_charge=total_charge,
        spin_multiplicity=spin_multiplicity,
        receiver_ptr=torch.from_numpy(pointers),
        sender_order=torch.from_numpy(number[pairs.reverse[near]]),
    )


class _Pairs(NamedTuple):
    """All ordered pairs of atoms of one molecule; receivers and then senders ascend.

    reverse: the number of the same pair in the other direction.
    """

    sender: np.ndarray
    receiver: np.ndarray
    reverse: np.ndarray


def _candidates(counts: np.ndarray) -> _Pairs:
    first = np.cumsum(counts) - counts
    squares = counts * counts
    # Pair p of a molecule with n atoms has the local receiver p // n and the local sender p % n;
    # its reverse is number sender * n + receiver.
    start = np.repeat(np.cumsum(squares) - squares, squares)
    size = np.repeat(counts, squares)
    pair = np.arange(len(size)) - start
    receiver, sender = np.divmod(pair, size)
    offset = np.repeat(first, squares)
    return _Pairs(sender + offset, receiver + offset, start + sender * size + receiver)


def _near(positions: np.ndarray, pairs: _Pairs, cutoff: float) -> np.ndarray:
    """Tell which pairs are two atoms closer than the cutoff, axis by axis: no (pairs, 3) array."""
    x, y, z = np.ascontiguousarray(positions.T)
    squares = (x[pairs.sender] - x[pairs.receiver]) ** 2
    squares += (y[pairs.sender] - y[pairs.receiver]) ** 2
    squares += (z[pairs.sender] - z[pairs.receiver]) ** 2
    near = squares < cutoff * cutoff
    near &= pairs.sender != pairs.receiver
    return near
