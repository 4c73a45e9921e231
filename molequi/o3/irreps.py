"""Irreps of O(3): the row layout of feature tensors, and the bridge between irrep rows and Cartesian tensors.

An irrep is a pair (l, p): degree l and parity p = ±1. A feature tensor is (N, M, C): M rows, 2l + 1
for each irrep in the order of its list, and the same C channels for each row. The basis is that of
e3nn: l = 1 rows are (x, y, z).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molequi.o3.clebsch_gordan import wigner_3j

Irrep = tuple[int, int]
Irreps = tuple[Irrep, ...]


def natural_irreps(l_max: int) -> Irreps:
    """Return 0e, 1o, 2e, ... up to l_max: the parities that products of positions have."""
    return tuple((l, (-1) ** l) for l in range(l_max + 1))


def full_irreps(l_max: int) -> Irreps:
    """Return both parities of every l up to l_max, natural ones first for each l."""
    return tuple((l, sign * (-1) ** l) for l in range(l_max + 1) for sign in (1, -1))


def irreps_name(irreps: Sequence[Irrep]) -> str:
    """Write irreps as `0e+1o`."""
    return "+".join(f"{l}{'e' if p == 1 else 'o'}" for l, p in irreps)


def n_rows(irreps: Sequence[Irrep]) -> int:
    """Return the number of rows M."""
    return sum(2 * l + 1 for l, _ in irreps)


def row_slices(irreps: Sequence[Irrep]) -> tuple[slice, ...]:
    """Return the rows of each irrep."""
    ends = np.cumsum([2 * l + 1 for l, _ in irreps]).tolist()
    return tuple(slice(end - 2 * l - 1, end) for end, (l, _) in zip(ends, irreps, strict=True))


def irrep_of_row(irreps: Sequence[Irrep]) -> Tensor:
    """Return, for each row, the position of its irrep in the list: (M,), int64."""
    return torch.tensor(
        [k for k, (l, _) in enumerate(irreps) for _ in range(2 * l + 1)], dtype=torch.int64
    )


@functools.lru_cache
def _cartesian_basis(degrees: tuple[int, ...]) -> np.ndarray:
    """Return Q with T_xy = sum_m Q[x, y, m] t_m for 3x3 tensors: (3, 3, M), orthonormal."""
    return np.concatenate([np.sqrt(2 * l + 1) * wigner_3j(1, 1, l) for l in degrees], axis=2)


def to_cartesian(rows: Tensor, degrees: tuple[int, ...]) -> Tensor:
    """Turn rows (..., M) of the degrees (0,), (1,), (0, 2) or (0, 1, 2) into (...,), (..., 3) or (..., 3, 3).

    Other degrees keep their rows. The map is orthonormal: it keeps the Frobenius norm.
    """
    if degrees == (0,):
        return rows.squeeze(-1)
    if degrees not in {(0, 2), (0, 1, 2)}:
        return rows
    basis = torch.as_tensor(_cartesian_basis(degrees), dtype=rows.dtype, device=rows.device)
    return torch.einsum("xym,...m->...xy", basis, rows)


def from_cartesian(tensor: Tensor, degrees: tuple[int, ...]) -> Tensor:
    """Invert `to_cartesian`; the parts of a 3x3 tensor outside `degrees` are dropped.

    Returns (..., M).
    """
    if degrees == (0,):
        return tensor.unsqueeze(-1)
    if degrees not in {(0, 2), (0, 1, 2)}:
        return tensor
    basis = torch.as_tensor(_cartesian_basis(degrees), dtype=tensor.dtype, device=tensor.device)
    return torch.einsum("xym,...xy->...m", basis, tensor)


def wigner_matrices(rotation: Tensor, l_max: int) -> tuple[Tensor, ...]:
    """Return D^0 ...

    D^l_max of proper rotations (..., 3, 3), from Y_l(R x) = D^l Y_l(x): (..., 2l + 1, 2l + 1) each.

    D^l = (2l + 1) C^T (D^(l-1) x R) C with the stretched coupling C of l - 1 and 1: a polynomial in
    R, exact and smooth at every R, for which no angles are needed.
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


def rotate(features: Tensor, rotation: Tensor, irreps: Sequence[Irrep]) -> Tensor:
    """Turn features (..., M, C) by an orthogonal matrix (3, 3): D(R) on the rows of each irrep.

    An improper R = -P also brings its parity.

    The features of a turned structure, without running the network: network(R x) = D(R) network(x).
    D is computed in float64.
    Raises ValueError for a matrix that is not orthogonal, or rows that are not those of `irreps`.
    """
    matrix = torch.as_tensor(rotation, dtype=torch.float64, device=features.device)
    if matrix.shape != (3, 3) or not torch.allclose(
        matrix @ matrix.T, torch.eye(3, dtype=torch.float64, device=matrix.device), atol=1e-6
    ):
        raise ValueError("a rotation must be an orthogonal 3x3 matrix, R R^T = 1 to 1e-6")
    if features.ndim < 2 or features.shape[-2] != n_rows(irreps):
        raise ValueError(
            f"features of {irreps_name(irreps)} have the shape (..., {n_rows(irreps)}, channels), "
            f"got {tuple(features.shape)}"
        )
    sign = 1.0 if torch.linalg.det(matrix) > 0 else -1.0
    matrices = wigner_matrices(sign * matrix, max((l for l, _ in irreps), default=0))
    parts = []
    for (l, p), rows in zip(irreps, row_slices(irreps), strict=True):
        parity = p if sign < 0 else 1
        parts.append(parity * (matrices[l].to(features.dtype) @ features[..., rows, :]))
    return torch.cat(parts, dim=-2)
