"""Neighbour pairs: arrays in, AtomGraph out. Never truncates the number of neighbours."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import torch
import vesin
from scipy.spatial import cKDTree

from molequi.errors import UserError
from molequi.graphs.cells import complete_cell, heights, reduced_cell, refuse_cell, refuse_positions
from molequi.graphs.elements import COINCIDENT
from molequi.graphs.graph import AtomGraph, make_graph
from molequi.runtime.modes import own_modes

# Below this many atoms a molecule's full pair matrix is cheaper than a cell list.
_DENSE_LIMIT = 64
# vesin shares out at most 1e5 bins among the three directions; where more are wanted a short
# direction may be left with none, and the process ends with a division by zero.
_MOST_BINS = 5e4
# A cell lower than this times the cutoff is searched by its shortest vectors: fewer images.
_SKEWED = 0.2
# Å³ per atom: in matter there is more, and coincident atoms would be paired by the thousand.
_CROWDED = 0.1


class Pairs(NamedTuple):
    """Neighbour pairs of one structure. edge_index: (2, E), sender and receiver.

    Shifts: (E, 3), cell counts.
    """

    edge_index: np.ndarray
    shifts: np.ndarray


def neighbor_pairs(
    positions: np.ndarray,
    cutoff: float,
    *,
    cell: np.ndarray | None = None,
    pbc: np.ndarray | None = None,
) -> Pairs:
    """Find all ordered pairs closer than `cutoff`, self-images and every periodic image included.

    positions: (N, 3), Å. cutoff: Å. cell: (3, 3), Å, rows are vectors. pbc: (3,), bool.
    Raises UserError for positions and cells that no matter can have, see `cells`, and for such a
    cutoff.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    refuse_positions(positions)
    if not 0 < cutoff < np.inf:
        raise UserError(f"cutoff is {cutoff} Å; it must be positive and finite")
    periodic = np.zeros(3, dtype=bool) if pbc is None else np.asarray(pbc, dtype=bool)
    refuse_cell(cell, periodic, len(positions))
    if not periodic.any() and len(positions) <= _DENSE_LIMIT:
        return _dense_pairs(positions, cutoff)
    if periodic.any():
        return _periodic_pairs(
            positions, cutoff, complete_cell(cell, positions, periodic, cutoff), periodic
        )
    _refuse_crowd(positions)
    # vesin knows open directions only as "all or none"; an open structure needs no box.
    sides = np.ptp(positions, axis=0)
    return _many_pairs(positions, cutoff, np.zeros((3, 3)), periodic, sides)


def _periodic_pairs(
    positions: np.ndarray, cutoff: float, cell: np.ndarray, pbc: np.ndarray
) -> Pairs:
    """Find the pairs of a completed cell; of a very skewed one by its shortest vectors."""
    if heights(cell).min() > _SKEWED * cutoff:
        return _many_pairs(positions, cutoff, cell, pbc, heights(cell))
    reduced, combinations = reduced_cell(cell, pbc)
    pairs = _many_pairs(positions, cutoff, reduced, pbc, heights(reduced))
    return Pairs(pairs.edge_index, pairs.shifts @ combinations)


def _many_pairs(
    positions: np.ndarray, cutoff: float, cell: np.ndarray, pbc: np.ndarray, sides: np.ndarray
) -> Pairs:
    """Find pairs in bins of the cutoff's size, or by a tree where these would be too many."""
    if np.prod(sides / cutoff + 1.0) > _MOST_BINS:
        return _tree_pairs(positions, cutoff, cell, pbc)
    return _listed_pairs(positions, cutoff, cell, pbc)


def build_graph(
    positions: np.ndarray,
    atomic_numbers: np.ndarray,
    cutoff: float,
    *,
    cell: np.ndarray | None = None,
    pbc: np.ndarray | None = None,
    total_charge: int = 0,
    spin_multiplicity: int = 1,
) -> AtomGraph:
    """Build the graph of one structure.

    positions: (N, 3), Å. atomic_numbers: (N,). cutoff: Å. cell: (3, 3), Å. pbc: (3,), bool.
    total_charge: e.
    """
    positions = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    periodic = np.zeros(3, dtype=bool) if pbc is None else np.asarray(pbc, dtype=bool)
    pairs = neighbor_pairs(positions, cutoff, cell=cell, pbc=periodic)
    return graph_from_pairs(
        positions,
        atomic_numbers,
        pairs,
        cell=cell,
        pbc=periodic,
        total_charge=total_charge,
        spin_multiplicity=spin_multiplicity,
    )


@own_modes()
def graph_from_pairs(
    positions: np.ndarray,
    atomic_numbers: np.ndarray,
    pairs: Pairs,
    *,
    cell: np.ndarray | None,
    pbc: np.ndarray,
    total_charge: int = 0,
    spin_multiplicity: int = 1,
) -> AtomGraph:
    """Wrap known pairs of one structure as an AtomGraph; arguments as `build_graph`."""
    return make_graph(
        torch.tensor(positions, dtype=torch.float64),
        torch.tensor(np.asarray(atomic_numbers, dtype=np.int64)),
        torch.from_numpy(pairs.edge_index),
        shifts=torch.from_numpy(pairs.shifts),
        cell=torch.zeros(1, 3, 3, dtype=torch.float64)
        if cell is None
        else torch.tensor(np.array(cell, dtype=np.float64))[None],
        pbc=torch.tensor(pbc)[None],
        total_charge=torch.tensor([total_charge]),
        spin_multiplicity=torch.tensor([spin_multiplicity]),
    )


def _dense_pairs(positions: np.ndarray, cutoff: float) -> Pairs:
    difference = positions[None, :] - positions[:, None]
    near = np.einsum("ijk,ijk->ij", difference, difference) < cutoff * cutoff
    np.fill_diagonal(near, False)
    receiver, sender = np.nonzero(near)
    return Pairs(np.stack([sender, receiver]), np.zeros((len(sender), 3), dtype=np.int64))


def _listed_pairs(positions: np.ndarray, cutoff: float, cell: np.ndarray, pbc: np.ndarray) -> Pairs:
    if not len(positions):
        return Pairs(np.zeros((2, 0), dtype=np.int64), np.zeros((0, 3), dtype=np.int64))
    search = vesin.NeighborList(cutoff=cutoff, full_list=True)
    first, second, shifts = search.compute(
        points=positions, box=cell, periodic=bool(pbc.any()), quantities="ijS"
    )
    shifts = shifts.astype(np.int64)
    # The completed vectors of open directions are longer than structure plus cutoff, so no pair can
    # cross them.
    order = np.lexsort((second, first))
    return Pairs(np.stack([second, first]).astype(np.int64)[:, order], shifts[order])


def _refuse_crowd(positions: np.ndarray) -> None:
    """Refuse an open structure whose atoms lie upon each other, before all of them are paired."""
    if np.prod(np.ptp(positions, axis=0) + 1.0) / len(positions) > _CROWDED:
        return
    distances, neighbors = cKDTree(positions).query(positions, k=2)
    first = int(distances[:, 1].argmin())
    shortest = float(distances[first, 1])
    if shortest < COINCIDENT:
        raise UserError(
            f"atom {first} and atom {neighbors[first].max()} are {shortest:.3f} Å apart; nuclei "
            f"closer than {COINCIDENT} Å are a mistake in the input"
        )


def _tree_pairs(positions: np.ndarray, cutoff: float, cell: np.ndarray, pbc: np.ndarray) -> Pairs:
    """Find pairs by a tree: slower than bins, but how far apart the atoms are plays no part.

    cell: (3, 3), Å, completed. Atoms are wrapped into the cell, whose surroundings are filled with
    images up to the cutoff.
    """
    wrapped, home = positions, np.zeros((len(positions), 3), dtype=np.int64)
    if pbc.any():
        home = np.where(pbc, np.floor(positions @ np.linalg.inv(cell)), 0.0).astype(np.int64)
        wrapped = positions - home @ cell
    atom, shift = _images(wrapped, cutoff, cell, pbc)
    near = cKDTree(wrapped).sparse_distance_matrix(
        cKDTree(wrapped[atom] + shift @ cell), cutoff, output_type="ndarray"
    )
    receiver, sender, shifts = near["i"], atom[near["j"]], shift[near["j"]]
    is_pair = (near["v"] < cutoff) & ((receiver != sender) | shifts.any(axis=1))
    receiver, sender, shifts = receiver[is_pair], sender[is_pair], shifts[is_pair]
    shifts = shifts - home[sender] + home[receiver]
    order = np.lexsort((sender, receiver))
    return Pairs(np.stack([sender, receiver])[:, order], shifts[order])


def _images(
    wrapped: np.ndarray, cutoff: float, cell: np.ndarray, pbc: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return atoms (M,) and cell counts (M, 3) of all images within the cutoff of the cell."""
    atoms = np.arange(len(wrapped))
    if not pbc.any():
        return atoms, np.zeros((len(wrapped), 3), dtype=np.int64)
    reach = np.where(pbc, cutoff / heights(cell), np.inf)
    counts = [range(-int(n), int(n) + 1) for n in np.where(pbc, np.ceil(reach), 0)]
    fractions = wrapped @ np.linalg.inv(cell)
    found = []
    for shift in itertools.product(*counts):
        moved = fractions + shift
        kept = atoms[((moved >= -reach) & (moved <= 1.0 + reach)).all(axis=1)]
        found.append((kept, np.tile(np.array(shift, dtype=np.int64), (len(kept), 1))))
    return np.concatenate([atom for atom, _ in found]), np.concatenate([s for _, s in found])
