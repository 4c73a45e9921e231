"""Distances inside the structures of a set, and what they tell: coincident atoms, fingerprints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii

from molequi.datasets.in_memory import Frames
from molequi.errors import UserError
from molequi.graphs.elements import COINCIDENT
from molequi.graphs.neighbors import neighbor_pairs

# Pairs looked at together, so that a large set takes little memory.
_PAIRS_AT_ONCE = 2_000_000
# Two atoms are bonded below so many times the sum of their covalent radii.
_BONDED = 1.3
_ROUNDS = 6  # of refinement: environments up to so many bonds


class _Pairs(NamedTuple):
    """Pairs of atoms of the same molecule: their places in the set, the molecule, distances (Å)."""

    first: np.ndarray
    second: np.ndarray
    frame: np.ndarray
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
    for pairs in _molecules(frames):
        if len(pairs.distance) and pairs.distance.min() < COINCIDENT:
            worst = int(np.flatnonzero(pairs.distance < COINCIDENT)[0])
            _refuse(frames, int(pairs.frame[worst]), pairs, worst)
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


def _refuse(frames: Frames, frame: int, pairs: _Pairs, worst: int) -> None:
    start = int(frames.offsets[frame])
    first, second = sorted((int(pairs.first[worst]) - start, int(pairs.second[worst]) - start))
    raise UserError(
        f"{name_of(frames, frame)}: atom {second} and atom {first} are "
        f"{pairs.distance[worst]:.3f} Å apart; nuclei closer than {COINCIDENT} Å are a mistake in "
        "the input"
    )


def name_of(frames: Frames, row: int) -> str:
    """Return where a structure comes from."""
    return frames.source[row] if frames.source else f"structure {row}"


def fingerprints(frames: Frames) -> Fingerprints:
    """Return the fingerprints of all structures."""
    numbers = frames.atomic_numbers.numpy()
    owner = np.repeat(np.arange(len(frames)), frames.n_atoms.numpy())
    inverse, direct = np.zeros(len(frames)), np.zeros(len(frames))
    labels = _mixed(numbers.astype(np.uint64))
    formula = _summed(labels, owner, len(frames))
    bonds = []
    for pairs in _molecules(frames):
        weights = (numbers[pairs.first] * numbers[pairs.second]).astype(np.float64)
        with np.errstate(divide="ignore"):
            inverse += np.bincount(pairs.frame, weights / pairs.distance, len(frames))
        direct += np.bincount(pairs.frame, weights * pairs.distance, len(frames))
        radii = covalent_radii[numbers[pairs.first]] + covalent_radii[numbers[pairs.second]]
        bonded = pairs.distance < _BONDED * radii
        bonds.append((pairs.first[bonded], pairs.second[bonded]))
    first, second = (np.concatenate(ends) for ends in zip(*bonds, strict=True))
    labels = _refined(labels, first, second)
    periodic = frames.pbc.any(dim=1).numpy()
    inverse[periodic], direct[periodic] = np.nan, np.nan
    return Fingerprints(formula, _summed(labels, owner, len(frames)), inverse, direct)


def _molecules(frames: Frames) -> Iterator[_Pairs]:
    """Yield all ordered pairs of atoms of the open structures, some structures at a time."""
    counts = np.where(frames.pbc.any(dim=1).numpy(), 0, frames.n_atoms.numpy())
    offsets, positions = frames.offsets.numpy(), frames.positions.numpy()
    total = np.cumsum(counts.astype(np.int64) ** 2)
    part = total // _PAIRS_AT_ONCE
    for number in np.unique(part):
        rows = np.flatnonzero(part == number)
        n = counts[rows]
        squares = n * n
        frame = np.repeat(rows, squares)
        pair = np.arange(len(frame)) - np.repeat(np.cumsum(squares) - squares, squares)
        first, second = np.divmod(pair, np.repeat(n, squares))
        apart = first != second
        frame, first, second = frame[apart], first[apart], second[apart]
        first, second = first + offsets[frame], second + offsets[frame]
        distance = np.linalg.norm(positions[first] - positions[second], axis=1)
        yield _Pairs(first, second, frame, distance)


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
