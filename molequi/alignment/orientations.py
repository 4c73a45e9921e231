"""Orientations of one feature tensor against another.

The score <b, D(R) a> on a whole grid of rotations at once, and its maxima.

a and b are (M, C) in the layout of `irreps.Irreps.natural(l_max)`. The score is a band-limited
function of R: it is known everywhere from S_l = b_l a_l^T, one (2l + 1)^2 matrix for each l. On the
grid R = R_y(alpha) R_x(beta) R_y(gamma), e3nn's Euler angles, the turns about y mix only the rows m
and -m, so that the sum separates (the fast rotation function of crystallography, R. A. Crowther,
1972).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from molequi.o3.clebsch_gordan import wigner_3j
from molequi.o3.irreps import Irreps
from molequi.o3.wigner import wigner_matrices

# 25 angles resolve every frequency up to l = 12; at 16 polar angles, 11.25° apart, no maximum of
# such a function hides. 10,000 in all.
N_ALPHA, N_BETA, N_GAMMA = 25, 16, 25
N_ORIENTATIONS = N_ALPHA * N_BETA * N_GAMMA
_ITERATIONS = 60
_LONGEST_STEP = 0.2  # rad
_SMALL_CURVATURE = 1e-6


def grid_angles() -> tuple[Tensor, Tensor, Tensor]:
    """Return alpha, beta and gamma, rad; beta in the middle of equal intervals from 0 to pi."""
    alpha, gamma = (
        2 * math.pi / n * torch.arange(n, dtype=torch.float64) for n in (N_ALPHA, N_GAMMA)
    )
    return alpha, math.pi / N_BETA * (torch.arange(N_BETA, dtype=torch.float64) + 0.5), gamma


def grid_rotations() -> Tensor:
    """Return the rotations of the grid: (N_ORIENTATIONS, 3, 3).

    Gamma runs fastest, then alpha, then beta.
    """
    alpha, beta, gamma = grid_angles()
    return (
        _about(1, alpha)[None, :, None] @ _about(0, beta)[:, None, None] @ _about(1, gamma)
    ).reshape(-1, 3, 3)


def correlations(a: Tensor, b: Tensor, l_max: int) -> Tensor:
    """Return S_l = b_l a_l^T around the centre of a common frame.

    (l_max + 1, 2 l_max + 1, 2 l_max + 1).
    """
    table = a.new_zeros(l_max + 1, 2 * l_max + 1, 2 * l_max + 1)
    for l, rows in enumerate(Irreps.natural(l_max).slices()):
        table[l, l_max - l : l_max + l + 1, l_max - l : l_max + l + 1] = b[rows] @ a[rows].T
    return table


def scan(table: Tensor) -> Tensor:
    """Return the scores on the grid from `correlations`: (N_ORIENTATIONS,).

    In the order of `grid_rotations`.
    """
    about_alpha, about_beta, about_gamma = _grid_factors(table.shape[0] - 1)
    flips: tuple[tuple[int, ...], ...] = ((), (3,), (2,), (2, 3))
    straight, right, left, both = (
        torch.einsum("lmn,blmn->bmn", table, about_beta.flip(axes)) for axes in flips
    )
    waves = torch.cat([torch.cat([straight, right], dim=2), torch.cat([left, both], dim=2)], dim=1)
    return (about_alpha @ waves @ about_gamma.T).reshape(-1)


def score_at(table: Tensor, rotations: Tensor) -> Tensor:
    """Return the scores at any rotations (B, 3, 3): (B,)."""
    l_max = table.shape[0] - 1
    parts = wigner_matrices(rotations, l_max)
    return torch.stack(
        [torch.einsum("bmn,mn->b", part, _block(table, l)) for l, part in enumerate(parts)]
    ).sum(dim=0)


def climb(table: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Take rotations (B, 3, 3) to the maxima of the score near them: rotations and scores (B,).

    Newton steps on the rotation group, R -> exp(w) R, with the exact gradient and Hessian; a step
    that lowers the score is halved.
    """
    score, gradient, hessian = _derivatives(table, rotations)
    longest = torch.full_like(score, _LONGEST_STEP)
    for _ in range(_ITERATIONS):
        step = _ascent(gradient, hessian)
        step = step * (longest / step.norm(dim=1).clamp(min=1e-300)).clamp(max=1.0)[:, None]
        tried = torch.linalg.matrix_exp(_skew(step)) @ rotations
        new_score, new_gradient, new_hessian = _derivatives(table, tried)
        better = new_score > score
        rotations = torch.where(better[:, None, None], tried, rotations)
        score, gradient = (
            torch.where(better, new_score, score),
            torch.where(better[:, None], new_gradient, gradient),
        )
        hessian = torch.where(better[:, None, None], new_hessian, hessian)
        longest = torch.where(better, torch.full_like(longest, _LONGEST_STEP), step.norm(dim=1) / 2)
        if not bool(better.any()) and float(longest.max()) < 1e-9:
            break
    return rotations, score


def angle_between(rotations: Tensor, others: Tensor) -> Tensor:
    """Return the angle of R S^T, degrees: (...,).

    Accurate at small angles, where the trace is not.
    """
    chord = (rotations - others).square().sum(dim=(-2, -1)).sqrt()
    return torch.rad2deg(2 * torch.asin((chord / math.sqrt(8)).clamp(max=1.0)))


def distinct_best(scores: Tensor, rotations: Tensor, count: int, *, apart: float = 20.0) -> Tensor:
    """Return the positions of the best scores, best first: at most `count`.

    They are at least `apart` degrees from one another.
    """
    chosen: list[int] = []
    left = scores.clone()
    while len(chosen) < count and bool(torch.isfinite(left).any()):
        best = int(left.argmax())
        chosen.append(best)
        left[angle_between(rotations, rotations[best]) < apart] = -torch.inf
    return torch.tensor(chosen)


def _ascent(gradient: Tensor, hessian: Tensor) -> Tensor:
    """Newton's step with every curvature taken as that of a maximum: (B, 3)."""
    curvature, axes = torch.linalg.eigh(hessian)
    along = torch.einsum("bki,bk->bi", axes, gradient) / curvature.abs().clamp(min=_SMALL_CURVATURE)
    return torch.einsum("bki,bi->bk", axes, along)


def _derivatives(table: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Score (B,), gradient (B, 3) and Hessian (B, 3, 3) in w of exp(w) R, at w = 0."""
    l_max = table.shape[0] - 1
    score, gradient, hessian = (
        table.new_zeros(len(rotations), *shape) for shape in ((), (3,), (3, 3))
    )
    for l, (turn, generators) in enumerate(
        zip(wigner_matrices(rotations, l_max), _generators(l_max), strict=True)
    ):
        correlation = turn @ _block(table, l).T
        score = score + correlation.diagonal(dim1=1, dim2=2).sum(dim=1)
        gradient = gradient + torch.einsum("kab,nba->nk", generators, correlation)
        products = generators[:, None] @ generators[None]
        hessian = hessian + torch.einsum(
            "jkab,nba->njk", (products + products.transpose(0, 1)) / 2, correlation
        )
    return score, gradient, hessian


def _block(table: Tensor, l: int) -> Tensor:
    centre = table.shape[0] - 1
    return table[l, centre - l : centre + l + 1, centre - l : centre + l + 1]


@functools.lru_cache
def _generators(l_max: int) -> tuple[Tensor, ...]:
    """The derivatives of D^l at the identity along turns about x, y and z.

    (3, 2l + 1, 2l + 1) each, by the coupling of `wigner_matrices`.
    """
    first = _skew(torch.eye(3, dtype=torch.float64))
    parts = [first.new_zeros(3, 1, 1)]
    for l in range(1, l_max + 1):
        coupling = torch.tensor(math.sqrt(2 * l + 1) * wigner_3j(l - 1, 1, l))
        both = torch.einsum("kab,bin->kain", parts[-1], coupling) + torch.einsum(
            "kij,ajn->kain", first, coupling
        )
        parts.append(torch.einsum("aim,kain->kmn", coupling, both))
    return tuple(parts)


@functools.lru_cache
def _grid_factors(l_max: int) -> tuple[Tensor, Tensor, Tensor]:
    """The waves of alpha (N_ALPHA, 2 M) and gamma (N_GAMMA, 2 M), and D of the turns about x.

    (N_BETA, l_max + 1, M, M), M = 2 l_max + 1.

    D(R_y(angle)) has cos(m angle) on its diagonal and -sin(m angle) at (m, -m).
    """
    alpha, beta, gamma = grid_angles()
    m = torch.arange(-l_max, l_max + 1, dtype=torch.float64)
    about_alpha = torch.cat([torch.cos(alpha[:, None] * m), -torch.sin(alpha[:, None] * m)], dim=1)
    about_gamma = torch.cat([torch.cos(gamma[:, None] * m), torch.sin(gamma[:, None] * m)], dim=1)
    about_beta = torch.zeros(N_BETA, l_max + 1, 2 * l_max + 1, 2 * l_max + 1, dtype=torch.float64)
    for l, part in enumerate(wigner_matrices(_about(0, beta), l_max)):
        about_beta[:, l, l_max - l : l_max + l + 1, l_max - l : l_max + l + 1] = part
    return about_alpha, about_beta, about_gamma


def _about(axis: int, angles: Tensor) -> Tensor:
    """Turns about a Cartesian axis: (n, 3, 3)."""
    return torch.linalg.matrix_exp(_skew(angles[:, None] * torch.eye(3, dtype=torch.float64)[axis]))


def _skew(vectors: Tensor) -> Tensor:
    """Matrices of the cross products v x: (..., 3, 3)."""
    x, y, z = vectors.unbind(dim=-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
