"""Wigner matrices, and the features of a turned structure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from molequi.o3.clebsch_gordan import wigner_3j
from molequi.o3.irreps import Irreps


def wigner_matrices(rotation: Tensor, l_max: int) -> tuple[Tensor, ...]:
    """Return D^0 to D^l_max of proper rotations (..., 3, 3), from Y_l(R x) = D^l Y_l(x).

    Each is (..., 2l + 1, 2l + 1). D^l = (2l + 1) C^T (D^(l-1) x R) C with the stretched coupling C
    of l - 1 and 1: a polynomial in R, exact and smooth at every R, for which no angles are needed.
    """
    matrices = [torch.ones_like(rotation[..., :1, :1])]
    for l in range(1, l_max + 1):
        coupling = torch.as_tensor(
            np.sqrt(2 * l + 1) * wigner_3j(l - 1, 1, l),
            dtype=rotation.dtype,
            device=rotation.device,
        )
        turned = torch.einsum("...ab,bjn->...ajn", matrices[-1], coupling)
        turned = torch.einsum("...ij,...ajn->...ain", rotation, turned)
        matrices.append(torch.einsum("aim,...ain->...mn", coupling, turned))
    return tuple(matrices)


def turning_matrices(matrices: Tensor, irreps: Iterable[tuple[int, int]]) -> Tensor:
    """Return D(R) on the components of `irreps` for orthogonal R (..., 3, 3): (..., M, M).

    An improper R = -P brings the parities. The matrices are taken as orthogonal, unchecked.
    """
    irreps = Irreps(irreps)
    sign = torch.linalg.det(matrices).sign()[..., None, None]
    blocks = wigner_matrices(sign * matrices, max(irreps.degrees, default=0))
    turned = matrices.new_zeros(*matrices.shape[:-2], irreps.dim, irreps.dim)
    for (l, p), rows in zip(irreps, irreps.slices(), strict=True):
        turned[..., rows, rows] = blocks[l] if p > 0 else sign * blocks[l]
    return turned


def rotate(features: Tensor, rotation: Tensor, irreps: Iterable[tuple[int, int]]) -> Tensor:
    """Turn features (..., M, C) by an orthogonal matrix (3, 3): D(R) on each irrep.

    An improper R = -P also brings its parity. These are the features of a turned structure, without
    running the network: network(R x) = D(R) network(x). D is computed in float64.
    Raises ValueError for a matrix that is not orthogonal, or components that are not those of
    `irreps`.
    """
    irreps = Irreps(irreps)
    matrix = torch.as_tensor(rotation, dtype=torch.float64, device=features.device)
    if matrix.shape != (3, 3) or not torch.allclose(
        matrix @ matrix.T, torch.eye(3, dtype=torch.float64, device=matrix.device), atol=1e-6
    ):
        raise ValueError("a rotation must be an orthogonal 3x3 matrix, R R^T = 1 to 1e-6")
    if features.ndim < 2 or features.shape[-2] != irreps.dim:
        raise ValueError(
            f"features of {irreps} have the shape (..., {irreps.dim}, channels), got "
            f"{tuple(features.shape)}"
        )
    is_proper = bool(torch.linalg.det(matrix) > 0)
    matrices = wigner_matrices(matrix if is_proper else -matrix, max(irreps.degrees, default=0))
    parts = [
        (1 if is_proper else p) * (matrices[l].to(features.dtype) @ features[..., components, :])
        for (l, p), components in zip(irreps, irreps.slices(), strict=True)
    ]
    return torch.cat(parts, dim=-2)
