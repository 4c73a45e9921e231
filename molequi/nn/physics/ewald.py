"""Ewald's sum: the Coulomb energy of charges in a crystal, in plain torch.

    E = k/2 sum_ij q_i q_j sum_n' 1 / |r_ij + n|
      = k/2 [ sum_ij,n' q_i q_j erfc(a r) / r                       near pairs
            + 4 pi / V sum_(G != 0) exp(-G² / 4a²) / G² |S(G)|²     waves
            - 2 a / sqrt(pi) sum_i q_i²                             a charge with its own cloud
            - pi / (V a²) Q² ]                                      the even background

for any splitting a; S(G) = sum_i q_i exp(i G r_i), Q = sum_i q_i. The crystal is surrounded by a
conductor; where its charges do not add up to zero, an even background makes it neutral. Frenkel,
Smit, Understanding Molecular Simulation (2002), section 12.1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from molequi.graphs.cells import reduced_cell
from molequi.kernels.pair_inputs import COULOMB_CONSTANT, LAST


class Splitting(NamedTuple):
    """Where Ewald's sum is split. width: a, 1/Å. cutoff: Å, of pairs. wave: 1/Å, the longest G.

    Both sums end where their terms are exp(-LAST²) of the first.
    """

    width: float
    cutoff: float
    wave: float


def splitting(n_atoms: int, volume: float) -> Splitting:
    """Return the splitting at which pairs and waves cost about the same; volume: Å³."""
    width = math.sqrt(math.pi) * (max(n_atoms, 1) / volume**2) ** (1.0 / 6.0)
    return Splitting(width, LAST / width, 2.0 * LAST * width)


def near_reciprocal(distances: Tensor, split: Splitting) -> Tensor:
    """Return erfc(a r) / r, what pairs have of 1 / r: (P,), 1/Å."""
    return torch.erfc(split.width * distances) / distances


def wave_energies(positions: Tensor, charges: Tensor, cell: Tensor, split: Splitting) -> Tensor:
    """Return what is not of pairs: energies (N,), eV, of the atoms of one crystal.

    positions: (N, 3), Å. charges: (N,), e, float64. cell: (3, 3), Å.
    """
    counts = torch.from_numpy(_wave_counts(cell.detach().cpu().numpy(), split.wave)).to(cell)
    return energies_of_waves(positions, charges, cell, split, counts)


def energies_of_waves(
    positions: Tensor, charges: Tensor, cell: Tensor, split: Splitting, counts: Tensor
) -> Tensor:
    """Compute `wave_energies` with the waves given: counts (K, 3), one of each G and -G."""
    volume = torch.linalg.det(cell).abs()
    potential = _wave_potential(positions, charges, cell, split, counts) / volume
    potential = potential - (2.0 * split.width / math.sqrt(math.pi)) * charges
    potential = potential - math.pi / (volume * split.width**2) * charges.sum()
    return 0.5 * COULOMB_CONSTANT * charges * potential


def _wave_potential(
    positions: Tensor, charges: Tensor, cell: Tensor, split: Splitting, counts: Tensor
) -> Tensor:
    """Return 4 pi sum_G exp(-G² / 4a²) / G² Re[S(G)* exp(i G r_i)] of the atoms: (N,)."""
    waves = 2.0 * math.pi * counts @ torch.linalg.inv(cell).T
    squared = waves.square().sum(dim=1)
    weights = torch.exp(squared / (-4.0 * split.width**2)) / squared
    phases = positions @ waves.T
    cosines, sines = torch.cos(phases), torch.sin(phases)
    real, imaginary = charges @ cosines, charges @ sines
    # One of G and -G is summed, so all count twice.
    return 8.0 * math.pi * (cosines @ (weights * real) + sines @ (weights * imaginary))


def _wave_counts(cell: np.ndarray, longest: float) -> np.ndarray:
    """Whole numbers (K, 3) of the waves up to a length, 1/Å, one of each G and -G, without 0.

    They are found by the shortest vectors of the lattice: long ones would ask for many more.
    """
    reduced, combinations = reduced_cell(cell, np.ones(3, dtype=bool))
    most = np.floor(longest * np.linalg.norm(reduced, axis=1) / (2.0 * math.pi)).astype(int)
    grid = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    half = grid[len(grid) // 2 + 1 :]
    waves = 2.0 * math.pi * half @ np.linalg.inv(reduced).T
    found = half[(waves * waves).sum(axis=1) <= longest**2]
    return np.rint(found @ np.linalg.inv(combinations).T)
