"""One graph of many small open molecules, as fast as a training loop asks for them.

The same result as `neighbors.build_graph` of each and `graph.collate`, without sorting: candidate
pairs are laid out receiver by receiver, so the edges come in order; and because every pair occurs
in both directions, the edge that comes m-th when sorted by sender is the reverse of the m-th edge.
"""

from __future__ import annotations

import numpy as np
import torch

from molequi.graphs.graph import AtomGraph


def graph_of_molecules(
    positions: np.ndarray,
    atomic_numbers: torch.Tensor,
    counts: np.ndarray,
    cutoff: float,
    *,
    cell: torch.Tensor,
    pbc: torch.Tensor,
    electrons: tuple[torch.Tensor, torch.Tensor],
) -> AtomGraph:
    """Build the graph of molecules with open boundaries.

    positions: (N, 3), float64, Å, finite, the molecules one after the other. counts: (B,), atoms of
    each. cutoff: Å.
    cell: (B, 3, 3), Å, and pbc: (B, 3), all False, are only carried along. electrons: total_charge
    (B,) and spin_multiplicity (B,).
    """
    n_atoms = len(positions)
    sender, receiver, reverse = _candidates(counts)
    x, y, z = np.ascontiguousarray(positions.T)
    squares = (x[sender] - x[receiver]) ** 2
    squares += (y[sender] - y[receiver]) ** 2
    squares += (z[sender] - z[receiver]) ** 2
    near = squares < cutoff * cutoff
    near &= sender != receiver
    edge_index = np.stack([sender[near], receiver[near]])
    position_in_edges = np.cumsum(near) - 1
    pointers = np.zeros(n_atoms + 1, dtype=np.int64)
    np.cumsum(np.bincount(edge_index[1], minlength=n_atoms), out=pointers[1:])
    return AtomGraph(
        positions=torch.from_numpy(positions),
        atomic_numbers=atomic_numbers,
        edge_index=torch.from_numpy(edge_index),
        shifts=torch.zeros(edge_index.shape[1], 3, dtype=torch.int64),
        cell=cell,
        pbc=pbc,
        batch=torch.from_numpy(np.repeat(np.arange(len(counts)), counts)),
        total_charge=electrons[0],
        spin_multiplicity=electrons[1],
        receiver_ptr=torch.from_numpy(pointers),
        sender_order=torch.from_numpy(position_in_edges[reverse[near]]),
    )


def _candidates(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All ordered pairs of atoms of one molecule.

    Sender, receiver, and the number of the reverse pair; receivers and then senders ascend.
    """
    first = np.cumsum(counts) - counts
    squares = counts * counts
    # Pair p of a molecule with n atoms has the local receiver p // n and the local sender p % n;
    # its reverse is number sender * n + receiver.
    start = np.repeat(np.cumsum(squares) - squares, squares)
    size = np.repeat(counts, squares)
    pair = np.arange(len(size)) - start
    receiver, sender = np.divmod(pair, size)
    reverse = start + sender * size + receiver
    offset = np.repeat(first, squares)
    return sender + offset, receiver + offset, reverse
