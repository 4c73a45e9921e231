"""The bridge between components of irreps and Cartesian tensors."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from molequi.o3.clebsch_gordan import wigner_3j

# 3x3 tensors, symmetric and general.
_OF_MATRICES = {(0, 2), (0, 1, 2)}


def to_cartesian(components: Tensor, degrees: tuple[int, ...]) -> Tensor:
    """Turn components (..., M) of irreps of these degrees into a Cartesian tensor.

    (0,) gives (...,), (1,) gives (..., 3), (0, 2) and (0, 1, 2) give (..., 3, 3); other degrees
    keep their components. The map is orthonormal: it keeps the Frobenius norm.
    """
    if degrees == (0,):
        return components.squeeze(-1)
    if degrees not in _OF_MATRICES:
        return components
    return torch.einsum("xym,...m->...xy", _basis_like(components, degrees), components)


def from_cartesian(tensor: Tensor, degrees: tuple[int, ...]) -> Tensor:
    """Invert `to_cartesian`; the parts of a 3x3 tensor outside `degrees` are dropped.

    Returns (..., M).
    """
    if degrees == (0,):
        return tensor.unsqueeze(-1)
    if degrees not in _OF_MATRICES:
        return tensor
    return torch.einsum("xym,...xy->...m", _basis_like(tensor, degrees), tensor)


def _basis_like(tensor: Tensor, degrees: tuple[int, ...]) -> Tensor:
    return torch.as_tensor(_basis(degrees), dtype=tensor.dtype, device=tensor.device)


@functools.lru_cache
def _basis(degrees: tuple[int, ...]) -> np.ndarray:
    """Return Q with T_xy = sum_m Q[x, y, m] t_m for 3x3 tensors: (3, 3, M), orthonormal."""
    return np.concatenate([np.sqrt(2 * l + 1) * wigner_3j(1, 1, l) for l in degrees], axis=2)
