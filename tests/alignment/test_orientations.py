"""The scan of all orientations against turning one by one; its maxima against known rotations."""

import numpy as np
import pytest
import torch
from torch import Tensor

from molequi.alignment.orientations import (
    N_ORIENTATIONS,
    angle_between,
    climb,
    correlations,
    distinct_best,
    grid_rotations,
    scan,
    score_at,
)
from molequi.models.structure import random_rotation
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import rotate

L_MAX = 7


@pytest.fixture(scope="module")
def rotations() -> Tensor:
    rng = np.random.default_rng(5)
    return torch.tensor(np.stack([random_rotation(rng) for _ in range(6)]))


@pytest.fixture(scope="module")
def features() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    decay = torch.cat(
        [torch.full((2 * l + 1, 1), 0.7**l, dtype=torch.float64) for l in range(L_MAX + 1)]
    )
    first, second = (
        decay * torch.randn(len(decay), 4, dtype=torch.float64, generator=generator)
        for _ in range(2)
    )
    return first, second


def test_the_grid_has_ten_thousand_different_rotations() -> None:
    rotations = grid_rotations()
    assert len(rotations) == N_ORIENTATIONS == 10_000
    torch.testing.assert_close(
        rotations @ rotations.mT,
        torch.eye(3, dtype=torch.float64).expand(10_000, 3, 3),
        atol=1e-12,
        rtol=0.0,
    )
    assert float(torch.linalg.det(rotations).min()) > 0.999
    flat = rotations.reshape(-1, 9)
    nearest = torch.cdist(flat[::23], flat).topk(2, largest=False).values[:, 1]
    assert float(nearest.min()) > 1e-3


def test_no_orientation_is_far_from_the_grid(rotations: Tensor) -> None:
    grid = grid_rotations()
    assert max(float(angle_between(grid, rotation).min()) for rotation in rotations) < 15.0


def test_the_scan_is_the_product_with_turned_features(features: tuple[Tensor, Tensor]) -> None:
    a, b = features
    scores, grid = scan(correlations(a, b, L_MAX)), grid_rotations()
    chosen = range(0, N_ORIENTATIONS, 331)
    expected = torch.stack(
        [(b * rotate(a, grid[pose], Irreps.natural(L_MAX))).sum() for pose in chosen]
    )
    torch.testing.assert_close(
        scores[list(chosen)], expected, atol=1e-12 * float(a.norm() * b.norm()), rtol=0.0
    )


def test_scores_between_grid_points_are_products_too(
    features: tuple[Tensor, Tensor], rotations: Tensor
) -> None:
    a, b = features
    expected = torch.stack(
        [(b * rotate(a, rotation, Irreps.natural(L_MAX))).sum() for rotation in rotations]
    )
    torch.testing.assert_close(
        score_at(correlations(a, b, L_MAX), rotations), expected, atol=1e-12, rtol=0.0
    )


def test_a_known_rotation_is_found(features: tuple[Tensor, Tensor], rotations: Tensor) -> None:
    a, _ = features
    for rotation in rotations:
        table = correlations(a, rotate(a, rotation, Irreps.natural(L_MAX)), L_MAX)
        starts = grid_rotations()[distinct_best(scan(table), grid_rotations(), 4)]
        found, scores = climb(table, starts)
        best = int(scores.argmax())
        assert float(angle_between(found[best], rotation)) < 1e-5
        assert float(scores[best]) == pytest.approx(float(a.square().sum()), rel=1e-12)


def test_climbing_ends_at_maxima(features: tuple[Tensor, Tensor], rotations: Tensor) -> None:
    """Of any start; seen by small turns, not by the derivatives that climbed."""
    table = correlations(*features, L_MAX)
    found, scores = climb(table, rotations)
    assert bool((scores >= score_at(table, rotations)).all())
    rng = np.random.default_rng(0)
    for rotation, score in zip(found, scores, strict=True):
        tilts = torch.linalg.matrix_exp(
            1e-2 * torch.tensor(np.stack([m - m.T for m in rng.standard_normal((20, 3, 3))]))
        )
        assert float(score_at(table, tilts @ rotation).max()) < float(score)


def test_angles_between_rotations() -> None:
    angle = 1e-4
    turn = torch.tensor(
        [[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]]
    )
    assert float(angle_between(turn, torch.eye(3))) == pytest.approx(np.rad2deg(angle), rel=1e-8)
    assert float(
        angle_between(torch.diag(torch.tensor([-1.0, -1.0, 1.0])), torch.eye(3))
    ) == pytest.approx(180.0)


def test_best_orientations_lie_apart() -> None:
    grid = grid_rotations()
    scores = torch.rand(N_ORIENTATIONS, generator=torch.Generator().manual_seed(2))
    chosen = distinct_best(scores, grid, 5)
    assert int(chosen[0]) == int(scores.argmax())
    assert bool((scores[chosen].diff() <= 0).all())
    assert (
        min(float(angle_between(grid[i], grid[j])) for i in chosen for j in chosen if i != j)
        >= 20.0
    )
