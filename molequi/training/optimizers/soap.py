"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from molequi.training.optimizers.base import MatrixOptimizer, State, adam_direction

# Decay of both moments and of the covariances; steps between two turns of the bases.
_DECAY, STEPS_PER_TURN = 0.95, 10
# Of the trace: above the rounding of float32, below what gradients leave.
_SHIFT = 1e-7
# A side of more channels than this keeps its own basis: eigenvectors would cost more than the step.
_LARGEST_SIDE = 256


class Soap(MatrixOptimizer):
    """D = P Adam(P^T g Q) Q^T, P and Q the eigenvectors of the means of g g^T and g^T g.

    N. Vyas et al., arXiv 2409.11321, algorithms 3 and 4: every ten steps one power iteration and a
    QR decomposition let P and Q follow the means. The first gradient only lays the bases.
    """

    def direction(self, gradients: Tensor, state: State) -> Tensor:
        """Return directions of entries of order one: (K, m, n)."""
        if not state:
            lay_bases(gradients, state)
            return torch.zeros_like(gradients)
        direction = direction_in_bases(gradients, state)
        if state["step"] % STEPS_PER_TURN == 0:
            let_bases_follow(state)
        return direction


def lay_bases(gradients: Tensor, state: State) -> None:
    """Begin a state: means of the squares and their eigenvectors, by the side's name."""
    for name, square in _squares(gradients).items():
        state[f"{name}_mean"] = square * (1.0 - _DECAY)
        state[name] = _eigenvectors(square)


def direction_in_bases(gradients: Tensor, state: State) -> Tensor:
    """Return directions (K, m, n) in the bases as they are, and let the means follow."""
    direction = adam_direction(_turned(gradients, state), state, (_DECAY, _DECAY))
    direction = _turned_back(direction, state)
    for name, square in _squares(gradients).items():
        state[f"{name}_mean"].lerp_(square, 1.0 - _DECAY)
    return direction


def by_qr(matrices: Tensor) -> Tensor:
    """Return Q of the QR decomposition of each matrix: (K, n, n)."""
    return torch.linalg.qr(matrices).Q


def _squares(gradients: Tensor) -> dict[str, Tensor]:
    """Return g g^T and g^T g, of the sides that are small enough: (K, m, m), (K, n, n)."""
    sides = {"left": gradients, "right": gradients.mT}
    return {
        name: torch.bmm(side, side.mT)
        for name, side in sides.items()
        if side.shape[1] <= _LARGEST_SIDE
    }


def let_bases_follow(state: State, orthogonal: Callable[[Tensor], Tensor] = by_qr) -> None:
    """Turn the bases after the means of the squares, and the mean gradient with them.

    orthogonal: (K, n, n) -> (K, n, n), orthonormal columns of the same spans, one after the other.
    """
    mean = _turned_back(state["mean"], state)
    for name in ("left", "right"):
        if name in state:
            state[name] = orthogonal(_iterated(state[f"{name}_mean"], state[name]))
    state["mean"] = _turned(mean, state)


def _eigenvectors(square: Tensor) -> Tensor:
    """Return an orthogonal basis: (K, n, n).

    A slight tilt of the axes decides between vectors that no gradient has reached: rounding would
    do so otherwise, and processes that round differently would part.
    """
    tilt = torch.linspace(0.0, 1.0, square.shape[1], dtype=square.dtype, device=square.device)
    return torch.linalg.eigh(square + torch.diag_embed(_shift(square) * tilt)).eigenvectors


def _iterated(square: Tensor, basis: Tensor) -> Tensor:
    """Return what one power iteration makes of the basis: (K, n, n).

    The shift keeps vectors that no gradient has reached where they were, for the same reason.
    """
    return torch.bmm(square, basis) + _shift(square)[:, :, None] * basis


def _shift(square: Tensor) -> Tensor:
    return _SHIFT * square.diagonal(dim1=1, dim2=2).sum(dim=1, keepdim=True)


def _turned(matrices: Tensor, state: State) -> Tensor:
    """Return P^T G Q."""
    if "left" in state:
        matrices = torch.bmm(state["left"].mT, matrices)
    return torch.bmm(matrices, state["right"]) if "right" in state else matrices


def _turned_back(matrices: Tensor, state: State) -> Tensor:
    """Return P G Q^T."""
    if "left" in state:
        matrices = torch.bmm(state["left"], matrices)
    return torch.bmm(matrices, state["right"].mT) if "right" in state else matrices
