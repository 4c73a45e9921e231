"""Muon: momentum, made orthogonal."""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.training.optimizers.base import MatrixOptimizer, State

_MOMENTUM = 0.95
# Of the polynomial a x + b x^3 + c x^5, which takes singular values from above 1e-3 or so to
# between 0.7 and 1.2 in five rounds; K. Jordan 2024.
_COEFFICIENTS, _N_ROUNDS = (3.4445, -4.7750, 2.0315), 5
# Root mean square of what AdamW adds to a weight at rate 1, as measured by the second source.
_ADAMW_SIZE = 0.2


class Muon(MatrixOptimizer):
    """D = 0.2 sqrt(max(m, n)) orthogonal(g + mu B), B = mu B + g: all singular values are alike.

    K. Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024
    (kellerjordan.github.io/posts/muon), with the size of J. Liu et al., arXiv 2502.16982, eq. 4, so
    that a learning rate means what it does to AdamW.
    """

    def direction(self, gradients: Tensor, state: State) -> Tensor:
        """Return directions of entries about 0.2: (K, m, n)."""
        if not state:
            state["momentum"] = torch.zeros_like(gradients)
        momentum = state["momentum"].mul_(_MOMENTUM).add_(gradients)
        ahead = gradients.add(momentum, alpha=_MOMENTUM)
        return orthogonal(ahead) * (_ADAMW_SIZE * max(gradients.shape[1:]) ** 0.5)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return U V^T of each U S V^T, with singular values between 0.7 and 1.2 in the place of 1.

    (K, m, n) -> (K, m, n), by a Newton-Schulz iteration, which needs products of matrices alone;
    zero stays zero.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonal(matrices.mT).mT
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-30)
    for _ in range(_N_ROUNDS):
        square = torch.bmm(x, x.mT)
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x
