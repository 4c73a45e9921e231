"""Labels so far from all others that they are mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.datasets.contacts import name_of
from molequi.datasets.in_memory import Frames
from molequi.properties import Property

# Times the median distance from the median. Of a normal distribution none in 1e100 labels lies so
# far out; strained geometries have forces a hundred times the usual ones at most.
_FAR = 500.0
_FEWEST = 10
# Where more than half of the labels are equal, as those at the limit of an assay, the others may
# lie over many powers of ten: their spread is what nine tenths stay within. Fewer than ten are
# compared with the size of the equal ones; a limit of a picomole leaves room for a micromole.
_MOST_OF_OTHERS, _FAR_FROM_EQUAL, _FAR_BY_SIZE = 0.9, 1e4, 1e6
_NAMED = 3
_AT_ONCE = 10_000  # structures
_ROUNDS = 20  # of reweighting; the weights no longer change


def outliers(frames: Frames) -> list[str]:
    """Return a line for each target with labels that lie hundreds of spreads from the others.

    Extensive labels are compared per composition (least absolute deviations, which a wrong label
    does not bend), values of atoms and components by their length.
    """
    lines = []
    for name, row in frames.properties.items():
        values = _one_number_each(frames, name, row)
        known = np.isfinite(values)
        if known.sum() < _FEWEST:
            continue
        if row.extensive and not row.per_atom and not row.shape:
            values[known] -= _composed(frames, values, known)
        middle = float(np.median(values[known]))
        distance = np.abs(values - middle)
        scale = _scale(distance[known], middle, row.unit)
        far = np.flatnonzero(known & (distance > scale.limit) & (scale.size > 0.0))
        if len(far):
            worst = sorted(far, key=lambda index: -distance[index])[:_NAMED]
            names = ", ".join(
                f"{name_of(frames, int(i))} ({distance[i] / scale.size:.0f} {scale.word})"
                for i in worst
            )
            lines.append(
                f"{name}: {len(far)} labels lie far outside the others, {scale.text}: {names}; one "
                "such label spoils a training: mend or remove it"
            )
    return lines


class _Scale(NamedTuple):
    """How far labels lie from their median: usually, and at most; in words, and what is counted."""

    size: float
    limit: float
    text: str
    word: str


def _scale(distance: np.ndarray, middle: float, unit: str) -> _Scale:
    """Describe the distances of labels from their median `middle`, both in `unit`."""
    spread, far = float(np.median(distance)), _FAR
    others = np.sort(distance[distance > 0.0])
    if spread == 0.0 and len(others) < _FEWEST:
        size, text = abs(middle), f"most of which are {middle:.3g} {unit}"
        return _Scale(size, _FAR_BY_SIZE * size, text, "times that")
    if spread == 0.0:
        spread, far = float(others[int(_MOST_OF_OTHERS * (len(others) - 1))]), _FAR_FROM_EQUAL
    return _Scale(spread, far * spread, f"whose spread is {spread:.3g} {unit}", "spreads")


def constants(frames: Frames) -> list[str]:
    """Return a line for each target whose labels are all alike, of which nothing can be learned.

    Labels that are all zero have a line already, see `formats.label_checks.gaps`.
    """
    lines = []
    for name, row in frames.properties.items():
        values = frames.targets[name]
        known = values[~torch.isnan(values)]
        if row.shape or row.per_atom or row.spread_of or len(known) < 2 or not len(frames):
            continue
        value = float(known[0])
        if bool((known == value).all()) and (value or row.binary):
            lines.append(
                f"{name}: all {len(known)} labels are {value:g}: nothing can be learned of them; "
                "check the column, or leave the target out"
            )
    return lines


def _one_number_each(frames: Frames, name: str, row: Property) -> np.ndarray:
    """Return the label (B,), the length of a vector, or the largest of those of the atoms."""
    values = frames.targets[name]
    if not row.per_atom:
        return _lengths(values).numpy().copy()
    largest = torch.full((len(frames),), -torch.inf, dtype=torch.float64)
    for piece in _pieces(frames):
        lengths = _lengths(values[piece.atoms]).abs().nan_to_num(nan=-torch.inf)
        largest[piece.rows].scatter_reduce_(0, piece.owner, lengths, "amax")
    return largest.numpy()


def _lengths(values: Tensor) -> Tensor:
    return values if values.ndim == 1 else values.flatten(1).norm(dim=1)


class _Piece(NamedTuple):
    """Structures that stand one after the other: rows, atoms, and whose atom each is (from 0)."""

    rows: slice
    atoms: slice
    owner: Tensor


def _pieces(frames: Frames) -> Iterator[_Piece]:
    """Yield the set in pieces, so that a large one takes little memory."""
    for first in range(0, len(frames), _AT_ONCE):
        offsets = frames.offsets[first : first + _AT_ONCE + 1]
        n = len(offsets) - 1
        owner = torch.repeat_interleave(torch.arange(n), offsets.diff())
        yield _Piece(slice(first, first + n), slice(int(offsets[0]), int(offsets[-1])), owner)


def _composed(frames: Frames, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return what the elements explain of the known values: least absolute deviations."""
    numbers = frames.atomic_numbers.numpy()
    elements = np.flatnonzero(np.bincount(numbers))
    counts = np.zeros((len(frames), len(elements)))
    for piece in _pieces(frames):
        column = elements.searchsorted(numbers[piece.atoms])
        np.add.at(counts[piece.rows], (piece.owner.numpy(), column), 1.0)
    counts, values = counts[known], values[known]
    weights = np.ones(len(values))
    for _ in range(_ROUNDS):
        fit = np.linalg.lstsq(counts * weights[:, None], values * weights, rcond=1e-10)[0]
        distance = np.abs(values - counts @ fit)
        weights = 1.0 / np.sqrt(np.maximum(distance, 1e-6 * distance.max(initial=1e-300)))
    return counts @ fit
