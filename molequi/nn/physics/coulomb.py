"""Coulomb's energy of atomic charges, without what near atoms have of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.kernels.pair_inputs import NOTHING_LEFT


class CoulombParameters(NamedTuple):
    """damping_radius: Å, within which the energy of near atoms is left to the network."""

    damping_radius: float = 4.6


def near_part(distances: Tensor, radius: float) -> Tensor:
    """Return fc(r) = exp(1 - 1 / (1 - (r / radius)²)), zero from the radius on: smooth everywhere.

    The cutoff function of the long-range Coulomb energy of AIMNet2 (Anstine, Zubatyuk, Isayev,
    Chem. Sci. 16, 10228 (2025)).
    """
    ratio, is_near = _ratio(distances, radius)
    return torch.where(is_near, torch.exp(-ratio), 0.0)


def far_reciprocal(distances: Tensor, radius: float) -> Tensor:
    """Return (1 - fc(r)) / r, 1/Å: zero at r = 0, 1 / r from the radius on."""
    ratio, is_near = _ratio(distances, radius)
    return torch.where(is_near, -torch.expm1(-ratio), 1.0) / distances


def _ratio(distances: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return x² / (1 - x²), zero where fc is nothing, and where it is something; x = r / radius."""
    squared = (distances / radius).square()
    is_near = squared < NOTHING_LEFT
    squared = torch.where(is_near, squared, 0.0)
    return squared / (1.0 - squared), is_near
