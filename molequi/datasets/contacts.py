"""Distances inside the structures of a set, and what they tell: coincident atoms, fingerprints."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from ase.data import covalent_radii
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.cells import reduced_cell
from molequi.graphs.elements import COINCIDENT
from molequi.graphs.neighbors import neighbor_pairs

# Pairs looked at together: some 30 MB of them.
_PAIRS_AT_ONCE = 250_000
# Two atoms are bonded below so many times the sum of their covalent radii.
_BONDED = 1.3
_ROUNDS = 6  # of refinement: environments up to so many bonds
# Å: an atom whose periodic images are farther away is one in a box, and no crystal.
_ISOLATED = 8.0


class _Pairs(NamedTuple):
    """Pairs of atoms of the same molecule, ordered: their places in the set, and distances (Å)."""

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray


class Fingerprints(NamedTuple):
    """What stays the same under rotation, reflection and renumbering, (B,) each; NaN in crystals.

    formula, constitution: hashes of the elements, and of elements and bonds. inverse, direct: sums
    over pairs of Z_i Z_j / d and of Z_i Z_j d.
    """

    formula: np.ndarray
    constitution: np.ndarray
    inverse: np.ndarray
    direct: np.ndarray


def refuse_coincident(frames: Frames) -> None:
    """Refuse structures with two atoms closer than `COINCIDENT`, as a prediction does.

    Raises UserError naming the first of them and its atoms.
    """
    for rows in _pieces(frames):
        for pairs in _pairs(frames, rows):
            if len(pairs.distance) and pairs.distance.min() < COINCIDENT:
                _refuse(frames, pairs, int(np.flatnonzero(pairs.distance < COINCIDENT)[0]))
    offsets = frames.offsets.numpy()
    for frame in np.flatnonzero(frames.pbc.any(dim=1).numpy()):
        atoms = slice(offsets[frame], offsets[frame + 1])
        edges = neighbor_pairs(
            frames.positions[atoms].numpy(),
            COINCIDENT,
            cell=frames.cell[frame].numpy(),
            pbc=frames.pbc[frame].numpy(),
        ).edge_index
        if edges.shape[1]:
            first, second = sorted(edges[:, 0].tolist())
            raise UserError(
                f"{name_of(frames, int(frame))}: atom {second} and atom {first} are closer than "
                f"{COINCIDENT} Å, which is a mistake in the input"
            )


def _refuse(frames: Frames, pairs: _Pairs, worst: int) -> None:
    ends, offsets = (int(pairs.first[worst]), int(pairs.second[worst])), frames.offsets.numpy()
    frame = int(offsets.searchsorted(ends[0], side="right")) - 1
    first, second = sorted(end - int(offsets[frame]) for end in ends)
    raise UserError(
        f"{name_of(frames, frame)}: atom {second} and atom {first} are "
        f"{pairs.distance[worst]:.3f} Å apart; nuclei closer than {COINCIDENT} Å are a mistake in "
        "the input"
    )


def are_isolated_atoms(frames: Frames) -> Tensor:
    """Tell which structures are one atom without a periodic image within 8 Å: (B,)."""
    shortest = frames.cell.norm(dim=2).masked_fill(~frames.pbc, torch.inf).amin(dim=1)
    is_isolated = (frames.n_atoms == 1) & (shortest >= _ISOLATED)
    # Of a skewed cell the lattice may have shorter vectors than the cell.
    for row in torch.nonzero(is_isolated & frames.pbc.any(dim=1))[:, 0].tolist():
        pbc = frames.pbc[row].numpy()
        lattice = reduced_cell(frames.cell[row].numpy(), pbc).cell[pbc]
        is_isolated[row] = bool(np.linalg.norm(lattice, axis=1).min() >= _ISOLATED)
    return is_isolated


def name_of(frames: Frames, row: int) -> str:
    """Return where a structure comes from."""
    return frames.source[row] if frames.source else f"structure {row}"


def fingerprints(frames: Frames) -> Fingerprints:
    """Return the fingerprints of all structures; what that takes does not grow with the set."""
    n = len(frames)
    prints = Fingerprints(np.empty(n, np.uint64), np.empty(n, np.uint64), np.empty(n), np.empty(n))
    for rows in _pieces(frames):
        for whole, part in zip(prints, _fingerprints_of(frames, rows), strict=True):
            whole[rows.start : rows.stop] = part
    return prints


def _fingerprints_of(frames: Frames, rows: range) -> Fingerprints:
    """Return the fingerprints of some structures that stand one after the other."""
    n, offsets = len(rows), frames.offsets[rows.start : rows.stop + 1].numpy()
    begin = offsets[0]
    numbers = frames.atomic_numbers[begin : offsets[-1]].numpy()
    owner = np.repeat(np.arange(n), np.diff(offsets))
    inverse, direct = np.zeros(n), np.zeros(n)
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for pairs in _pairs(frames, rows):
        first, second = pairs.first - begin, pairs.second - begin
        weights = (numbers[first] * numbers[second]).astype(np.float64)
        with np.errstate(divide="ignore"):
            np.add.at(inverse, owner[first], weights / pairs.distance)
        np.add.at(direct, owner[first], weights * pairs.distance)
        radii = covalent_radii[numbers[first]] + covalent_radii[numbers[second]]
        is_bond = pairs.distance < _BONDED * radii
        firsts.append(first[is_bond])
        seconds.append(second[is_bond])
    labels = _mixed(numbers.astype(np.uint64))
    refined = _refined(labels, np.concatenate(firsts), np.concatenate(seconds))
    is_periodic = frames.pbc[rows.start : rows.stop].any(dim=1).numpy()
    inverse[is_periodic], direct[is_periodic] = np.nan, np.nan
    return Fingerprints(_summed(labels, owner, n), _summed(refined, owner, n), inverse, direct)


def _pieces(frames: Frames) -> Iterator[range]:
    """Yield structures that stand one after the other, and have not many pairs and atoms in all."""
    counts = frames.n_atoms.numpy()
    is_open = ~frames.pbc.any(dim=1).numpy()
    piece = np.cumsum(counts + is_open * counts**2) // _PAIRS_AT_ONCE
    ends = [*(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(frames)]
    yield from (range(*bounds) for bounds in itertools.pairwise([0, *ends]))


def _pairs(frames: Frames, rows: range) -> Iterator[_Pairs]:
    """Yield all pairs of atoms of the open structures among some, some atoms at a time."""
    starts = frames.offsets[rows.start : rows.stop].numpy()
    counts = frames.offsets[rows.start : rows.stop + 1].diff().numpy()
    counts = np.where(frames.pbc[rows.start : rows.stop].any(dim=1).numpy(), 0, counts)
    # Of each atom: its place in the set, the first atom of its molecule, how many that has.
    start, n = np.repeat(starts, counts), np.repeat(counts, counts)
    place = start + np.arange(len(n)) - np.repeat(np.cumsum(counts) - counts, counts)
    piece = np.cumsum(n) // _PAIRS_AT_ONCE
    for number in np.unique(piece):
        here = slice(*piece.searchsorted([number, number + 1]))
        own = n[here]
        first = np.repeat(place[here], own)
        second = np.arange(len(first)) - np.repeat(np.cumsum(own) - own - start[here], own)
        apart = first != second
        first, second = first[apart], second[apart]
        positions = frames.positions[starts[0] :].numpy()
        steps = positions[first - starts[0]] - positions[second - starts[0]]
        yield _Pairs(first, second, np.linalg.norm(steps, axis=1))


def _refined(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give atoms labels of their surroundings (Weisfeiler-Leman), as hashes."""
    for _ in range(_ROUNDS):
        around = np.zeros_like(labels)
        np.add.at(around, first, _mixed(labels[second]))
        labels = _mixed(labels + around * np.uint64(3))
    return labels


def _summed(labels: np.ndarray, owner: np.ndarray, n_frames: int) -> np.ndarray:
    sums = np.zeros(n_frames, dtype=np.uint64)
    np.add.at(sums, owner, _mixed(labels))
    return sums


def _mixed(x: np.ndarray) -> np.ndarray:
    """Hash 64-bit numbers: the finalizer of SplitMix64 (doi:10.1145/2660193.2660195)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
