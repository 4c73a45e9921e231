"""Scores of orientations: which pose of one molecule overlaps best with another.

score(R) = (1 - w) C_shape(R) + w C_charge(R), with Carbo's index C = <A turned by R, B> / (|A| |B|)
of the overlap integrals of both fields (R. Carbo, L. Leyda, M. Arnau, Int. J. Quantum Chem. 17,
1185 (1980)): 1 for a molecule on itself.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.alignment.fields import L_MAX, Fields, Multipoles, exact_overlaps
from molequi.alignment.orientations import (
    climb,
    correlations,
    distinct_best,
    grid_rotations,
    scan,
)

N_STARTS = 8
# Poses whose scores differ by less are equal: symmetric molecules have many.
_SAME_SCORE = 1e-9
NO_CHARGE = 1e-8  # e Å^(-3/2), of the charge field's norm


class Pose(NamedTuple):
    """An orientation of A and what it scores: x -> rotation (x - centre of A) + centre of B."""

    rotation: Tensor
    score: float


class Pair(NamedTuple):
    """Two molecules ready to be compared.

    Unit features of each, ((l_max + 1)^2, 2 K), shape and charge shells side by side.
    """

    a: Tensor
    b: Tensor


def unit_features(fields: Fields, charge_weight: float, pose: int = 0) -> Tensor:
    """Return features whose inner product is the score.

    ((l_max + 1)^2, 2 K), shape shells, then charge shells, each normalised and weighted.
    """
    weights = (1 - charge_weight, charge_weight)
    return torch.cat(
        [
            (w**0.5 / float(x[pose].norm()) if w else 0.0) * x[pose]
            for w, x in zip(weights, fields, strict=True)
        ],
        dim=1,
    )


def scan_orientations(pair: Pair) -> Tensor:
    """Return the scores of all orientations of `grid_rotations`: (10,000,)."""
    return scan(correlations(pair.a, pair.b, L_MAX))


def ranking(scores: Tensor) -> Tensor:
    """Return the poses, best first; those of one score (to 1e-9) in the order of the grid."""
    return torch.argsort(torch.round(-scores / _SAME_SCORE), stable=True)


def best_pose(pair: Pair) -> Pose:
    """Scan all orientations and climb from the best distinct ones to the highest maximum."""
    table, rotations = correlations(pair.a, pair.b, L_MAX), grid_rotations()
    starts = rotations[distinct_best(scan(table), rotations, N_STARTS)]
    refined, scores = climb(table, starts)
    best = int(scores.argmax())
    return Pose(refined[best], float(scores[best]))


def carbo(a: Tensor, b: Tensor) -> float | None:
    """Return Carbo's index of two fields as they lie; None where one of them vanishes."""
    norm = float(a.norm() * b.norm())
    return float((a * b).sum()) / norm if norm > NO_CHARGE**2 else None


def resolved(parts: list[Multipoles], fields: list[Fields]) -> dict[str, float]:
    """Return the least part of |shape|² and |charge|² of both molecules that the expansion holds.

    It goes up to l = 12; 1 is all.
    """
    shares = [
        [
            float(x[0].square().sum()) / exact if exact > NO_CHARGE**2 else 1.0
            for x, exact in zip(field, exact_overlaps(part, part), strict=True)
        ]
        for part, field in zip(parts, fields, strict=True)
    ]
    return {
        "shape": min(share[0] for share in shares),
        "electrostatic": min(share[1] for share in shares),
    }
