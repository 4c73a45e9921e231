"""Cells and coordinates judged before any pair is searched, and cells completed for the search.

A search lays bins over the cell and copies it as often as the cutoff reaches: a cell that no matter
can have would take all memory, or end the process inside the library that searches.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from molequi.errors import UserError
from molequi.graphs.elements import COINCIDENT

# Å, a centimetre: beyond it float64 no longer has the digits of a bond length.
FARTHEST = 1e8
# Å³ per atom. Hydrogen at 500 GPa still has ten times as much.
_DENSEST = 0.1
# A hundred rounds of a reduction are never needed; it has come to its end where one takes less than
# this part of a vector.
_MOST_ROUNDS, _SHORTER = 100, 1e-9
# A cell vector shorter than this, Å, is none.
_NO_VECTOR = 1e-9


def refuse_positions(positions: np.ndarray) -> None:
    """Refuse coordinates, (N, 3), Å, that are not finite or farther out than `FARTHEST`.

    Raises UserError naming the first such atom.
    """
    bad = np.flatnonzero(~(np.abs(positions) < FARTHEST).all(axis=1))
    if not len(bad):
        return
    where = f"position of atom {bad[0]}"
    if not np.isfinite(positions[bad[0]]).all():
        raise UserError(
            f"{where} is not finite: {positions[bad[0]]}; coordinates must be finite numbers in Å"
        )
    raise UserError(
        f"{where} is {positions[bad[0]]} Å, more than a centimetre from the origin; coordinates "
        "must be in Å"
    )


def refuse_cell(cell: np.ndarray | None, pbc: np.ndarray, n_atoms: int) -> None:
    """Refuse periodic cell vectors in which no matter fits; cell: (3, 3), Å, pbc: (3,).

    Raises UserError where any vector is not finite or longer than `FARTHEST`, where one is missing,
    where they are linearly dependent, where an atom would lie upon its own image, or where the
    atoms would be packed more densely than any matter.
    """
    pbc = np.asarray(pbc, dtype=bool)
    cell = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=np.float64)
    for axis in np.flatnonzero(~(np.abs(cell) < FARTHEST).all(axis=1)):
        raise UserError(
            f"cell vector {axis} is {cell[axis].tolist()}; it must be finite, in Å and shorter "
            "than a centimetre"
        )
    if not pbc.any():
        return
    _refuse_vectors(cell, pbc)
    periodic = cell[pbc]
    if np.linalg.matrix_rank(periodic, tol=_NO_VECTOR * np.abs(periodic).max()) < len(periodic):
        raise UserError(f"the periodic cell vectors are linearly dependent: {periodic.tolist()}")
    # No lattice vector is shorter than the smallest distance of opposite faces.
    if heights(periodic).min() < COINCIDENT:
        _refuse_own_image(cell, pbc)
    volume = abs(np.linalg.det(cell)) / max(n_atoms, 1) if pbc.all() else np.inf
    if volume < _DENSEST:
        raise UserError(
            f"the cell has {volume:.3g} Å³ for each of its {n_atoms} atoms, and no matter is so "
            f"dense; cell vectors must be in Å: {cell.tolist()}"
        )


def _refuse_vectors(cell: np.ndarray, pbc: np.ndarray) -> None:
    for axis in np.flatnonzero(pbc):
        if np.linalg.norm(cell[axis]) < _NO_VECTOR:
            raise UserError(
                f"pbc is on along axis {axis} but its cell vector is zero; give a cell or switch "
                "pbc off"
            )


def _refuse_own_image(cell: np.ndarray, pbc: np.ndarray) -> None:
    shortest = float(np.linalg.norm(reduced_cell(cell, pbc).cell[pbc], axis=1).min())
    if shortest < COINCIDENT:
        raise UserError(
            f"the cell repeats every atom after {shortest:.3g} Å; nuclei closer than {COINCIDENT} "
            f"Å are a mistake: cell vectors must be in Å and span a volume: {cell.tolist()}"
        )


class ReducedCell(NamedTuple):
    """The shortest vectors of a lattice, (3, 3), Å, and the integers (3, 3) that make them.

    cell = combinations @ the cell that it was made of.
    """

    cell: np.ndarray
    combinations: np.ndarray


def reduced_cell(cell: np.ndarray, pbc: np.ndarray) -> ReducedCell:
    """Return the shortest vectors that span the same lattice; open directions stay as they are.

    By greedy reduction, whose result is that of Minkowski in up to four dimensions (Nguyen and
    Stehlé, Low-dimensional lattice basis reduction revisited, ANTS-VI, 2004).
    """
    combinations = np.eye(3, dtype=np.int64)
    axes = np.flatnonzero(pbc)
    combinations[axes] = _reduced(combinations[axes], cell)
    return ReducedCell(combinations @ cell, combinations)


def _reduced(rows: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return integer combinations (K, 3) of the cell that span the lattice of `rows` shortly."""
    for _ in range(_MOST_ROUNDS if len(rows) > 1 else 0):
        rows = rows[np.argsort(np.linalg.norm(rows @ cell, axis=1), kind="stable")]
        rows[:-1] = _reduced(rows[:-1], cell)
        longest = np.linalg.norm(rows[-1] @ cell)
        rows[-1] = _shortened(rows[-1], rows[:-1], cell)
        if np.linalg.norm(rows[-1] @ cell) > (1.0 - _SHORTER) * longest:
            break
    return rows


def _shortened(row: np.ndarray, others: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Take from a row the vector of the others' lattice that leaves it shortest."""
    nearest = np.rint(np.linalg.lstsq((others @ cell).T, row @ cell, rcond=None)[0])
    around = np.array(list(itertools.product((-1, 0, 1), repeat=len(others))))
    left = row - (nearest.astype(np.int64) + around) @ others
    return left[np.linalg.norm(left @ cell, axis=1).argmin()]


def heights(vectors: np.ndarray) -> np.ndarray:
    """Return the distances of opposite faces of the cell of K vectors (K, 3), Å: (K,)."""
    return 1.0 / np.linalg.norm(np.linalg.pinv(vectors, rcond=0.0), axis=0)


def complete_cell(
    cell: np.ndarray | None, positions: np.ndarray, pbc: np.ndarray, cutoff: float
) -> np.ndarray:
    """Replace the vectors of open directions by ones so long that no image comes within the cutoff.

    cell: as `refuse_cell` lets it pass.
    """
    cell = np.zeros((3, 3)) if cell is None else np.array(cell, dtype=np.float64)
    if not pbc.all():
        # Orthogonal to the periodic ones, as long as the structure plus two cutoffs.
        periodic = cell[pbc]
        basis = np.linalg.svd(periodic)[2][len(periodic) :]
        for axis, direction in zip(np.flatnonzero(~pbc), basis, strict=True):
            extent = np.ptp(positions @ direction) if len(positions) else 0.0
            cell[axis] = direction * (extent + 2.0 * cutoff + 1.0)
    return cell
