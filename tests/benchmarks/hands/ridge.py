"""Kernel ridge with a kernel that changes sign under reflection.

Optical rotation without a network.

k(A, B) = sum over atoms i of A and j of B of one element of exp(-|x_i - x_j|^2 / (2 s^2)) t_i .
t_j, where x are invariants (0e) of an atom's surroundings and t its pseudoscalars (0o), the triple
products of the vectors v_a = sum_j f_a(r_ij) r_ij / |r_ij|, a over elements and radial functions.
Predictions are sums over atoms and flip with the hand, exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from molequi.datasets.in_memory import Frames

_CENTRES, _WIDTH = (1.2, 2.2, 3.4), 0.9  # Å, of the radial functions
_CUTOFF = 5.0  # Å
_BLOCK = 1500  # atoms of a block of the atomic kernel
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0)
RIDGES = tuple(float(x) for x in 10.0 ** np.arange(-6.0, 1.1, 0.5))


class Atoms(NamedTuple):
    """Descriptors of all atoms of a set.

    even: (A, F), x. odd: (A, T), t. numbers: (A,). owner: (A,), the molecule of each atom,
    ascending. n_molecules.
    """

    even: np.ndarray
    odd: np.ndarray
    numbers: np.ndarray
    owner: np.ndarray
    n_molecules: int


class Choice(NamedTuple):
    """What the validation part chose.

    Bandwidth s, ridge per mean diagonal of the kernel, R² there.
    """

    bandwidth: float
    ridge: float
    valid_r2: float


def describe(frames: Frames, elements: Sequence[int]) -> Atoms:
    """Compute x and t of every atom, as they are."""
    offsets, positions, numbers = (
        frames.offsets.tolist(),
        frames.positions.numpy(),
        frames.atomic_numbers.numpy(),
    )
    pairs = [
        _molecule(positions[a:b], numbers[a:b], elements) for a, b in itertools.pairwise(offsets)
    ]
    even, odd = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return Atoms(
        even, odd, numbers, np.repeat(np.arange(len(frames)), frames.n_atoms.numpy()), len(frames)
    )


def _molecule(
    positions: np.ndarray, numbers: np.ndarray, elements: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    vectors = positions[None, :] - positions[:, None]
    r = np.linalg.norm(vectors, axis=-1) + 1e3 * np.eye(len(positions))
    unit = vectors / r[..., None]
    envelope = np.where(
        r < _CUTOFF, 0.5 + 0.5 * np.cos(np.pi * np.minimum(r, _CUTOFF) / _CUTOFF), 0.0
    )
    radial = np.stack([np.exp(-(((r - c) / _WIDTH) ** 2)) * envelope for c in _CENTRES], axis=-1)
    is_element = (numbers[:, None] == np.array(elements)).astype(np.float64)
    weights = np.einsum("ijn,jz->ijzn", radial, is_element).reshape(*r.shape, -1)
    density = weights.sum(axis=1)
    v = np.einsum("ija,ijx->iax", weights, unit)
    q = (
        np.einsum("ija,ijx,ijy->iaxy", weights, unit, unit)
        - density[:, :, None, None] * np.eye(3) / 3.0
    )
    a, b = np.triu_indices(density.shape[1])
    products = [
        np.einsum("iax,iax->ia", v[:, a], v[:, b]),
        np.einsum("iaxy,iaxy->ia", q[:, a], q[:, b]),
    ]
    triples = np.array(list(itertools.combinations(range(density.shape[1]), 3))).T
    odd = np.einsum("itx,itx->it", v[:, triples[0]], np.cross(v[:, triples[1]], v[:, triples[2]]))
    return np.concatenate([density, *products], axis=1), odd


def normalize(sets: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Divide by what the training set says.

    X by the spread of its widest column, t column by column by its size, never shifted.
    """
    first = sets["train"]
    width = first.even.std(axis=0).max()
    sizes = np.sqrt((first.odd**2).mean(axis=0))
    scale = (sizes + 0.05 * np.sqrt((sizes**2).mean())) * np.sqrt(len(sizes))
    return {name: s._replace(even=s.even / width, odd=s.odd / scale) for name, s in sets.items()}


def kernels(first: Atoms, second: Atoms, bandwidths: Sequence[float]) -> np.ndarray:
    """Return k of all pairs of molecules for each bandwidth.

    (len(bandwidths), first.n_molecules, second.n_molecules), float64.
    """
    result = np.zeros((len(bandwidths), first.n_molecules, second.n_molecules))
    for number in np.unique(first.numbers):
        rows, columns = (
            np.flatnonzero(first.numbers == number),
            np.flatnonzero(second.numbers == number),
        )
        if not len(columns):
            continue
        y, yy = second.even[columns], np.square(second.even[columns]).sum(axis=1)
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            x = first.even[block]
            squared = np.maximum(np.square(x).sum(axis=1)[:, None] + yy - 2.0 * (x @ y.T), 0.0)
            similar = first.odd[block] @ second.odd[columns].T
            for k, bandwidth in enumerate(bandwidths):
                _add_by_owner(
                    result[k],
                    np.exp(squared * (-0.5 / bandwidth**2)) * similar,
                    first.owner[block],
                    second.owner[columns],
                )
    return result


def _add_by_owner(
    result: np.ndarray, pairs: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> None:
    row_starts, column_starts = (
        np.flatnonzero(np.r_[True, np.diff(owner) != 0]) for owner in (rows, columns)
    )
    summed = np.add.reduceat(np.add.reduceat(pairs, row_starts, axis=0), column_starts, axis=1)
    result[np.ix_(rows[row_starts], columns[column_starts])] += summed


def fit_predict(
    parts: Mapping[str, Frames], target: str = "rosenfeld_isotropic"
) -> tuple[dict[str, np.ndarray], Choice]:
    """Fit on `train`, choose bandwidth and ridge by the squared error on `valid`.

    Returns the values for all other parts, and the choice.
    """
    sets = normalize(
        {name: describe(part, parts["train"].elements()) for name, part in parts.items()}
    )
    known, wanted = (parts[name].targets[target].numpy() for name in ("train", "valid"))
    train, valid = (kernels(sets[name], sets["train"], BANDWIDTHS) for name in ("train", "valid"))
    variance = float(np.square(wanted - wanted.mean()).mean())
    best, weights = Choice(0.0, 0.0, -np.inf), np.zeros(len(known))
    for k, bandwidth in enumerate(BANDWIDTHS):
        values, vectors = np.linalg.eigh(train[k])
        for ridge in RIDGES:
            solved = vectors @ (
                (vectors.T @ known) / (values.clip(min=0.0) + ridge * values.mean())
            )
            r2 = 1.0 - float(np.square(valid[k] @ solved - wanted).mean()) / variance
            if r2 > best.valid_r2:
                best, weights = Choice(bandwidth, ridge, r2), solved
    others = [name for name in parts if name not in ("train", "valid")]
    return {
        name: kernels(sets[name], sets["train"], [best.bandwidth])[0] @ weights for name in others
    }, best
