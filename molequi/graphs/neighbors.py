"""Neighbour pairs: arrays in, AtomGraph out. Never truncates the number of neighbours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import vesin

from molequi.graphs.graph import AtomGraph, make_graph

# Below this many atoms a molecule's full pair matrix is cheaper than a cell list.
_DENSE_LIMIT = 64


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
    Raises ValueError for positions that are not finite.
    """
    positions = np.ascontiguousarray(positions, dtype=np.float64)
    if not np.isfinite(positions).all():
        bad = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise ValueError(
            f"position of atom {bad} is not finite: {positions[bad]}; coordinates must be finite "
            "numbers in Å"
        )
    if cutoff <= 0:
        raise ValueError(f"cutoff is {cutoff} Å; it must be positive")
    periodic = np.zeros(3, dtype=bool) if pbc is None else np.asarray(pbc, dtype=bool)
    if not periodic.any():
        if len(positions) <= _DENSE_LIMIT:
            return _dense_pairs(positions, cutoff)
        # vesin knows open directions only as "all or none"; an open structure needs no box.
        return _listed_pairs(positions, cutoff, np.zeros((3, 3)), periodic)
    return _listed_pairs(
        positions, cutoff, complete_cell(cell, positions, periodic, cutoff), periodic
    )


def complete_cell(
    cell: np.ndarray | None, positions: np.ndarray, pbc: np.ndarray, cutoff: float
) -> np.ndarray:
    """Replace the vectors of open directions by ones so long that no image comes within the cutoff.

    Raises ValueError where a periodic direction has no cell vector or the periodic vectors are
    linearly dependent.
    """
    cell = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
    for axis in np.flatnonzero(pbc):
        if np.linalg.norm(cell[axis]) < 1e-9:
            raise ValueError(
                f"pbc is on along axis {axis} but its cell vector is zero; give a cell or switch "
                "pbc off"
            )
    periodic = cell[pbc]
    if np.linalg.matrix_rank(periodic, tol=1e-9 * np.abs(periodic).max()) < len(periodic):
        raise ValueError(f"the periodic cell vectors are linearly dependent: {periodic.tolist()}")
    # Open directions become orthogonal to the periodic ones, as long as the structure plus two
    # cutoffs.
    if not pbc.all():
        basis = np.linalg.svd(periodic)[2][len(periodic) :]
        for axis, direction in zip(np.flatnonzero(~pbc), basis, strict=True):
            extent = np.ptp(positions @ direction) if len(positions) else 0.0
            cell[axis] = direction * (extent + 2.0 * cutoff + 1.0)
    return cell


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
