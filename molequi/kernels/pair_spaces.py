"""Which atoms meet through which images: of molecules all, of crystals those within a reach."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from molequi.kernels import compiled
from molequi.kernels.pair_inputs import Space


def molecules(batch: np.ndarray, n_molecules: int) -> Space:
    """Return the space of molecules, whose atoms meet whatever their distance; batch: (N,)."""
    ends = compiled.pair_setup.last_partners(batch)
    return Space(batch, ends, *_open(n_molecules))


@functools.lru_cache(maxsize=64)
def _open(n: int) -> tuple[np.ndarray, ...]:
    """What molecules share: one image, which is themselves, and no end of their reach."""
    zeros, ones = np.zeros(n, np.int64), np.ones(n, np.int64)
    return np.zeros((1, 3)), zeros, ones, np.full(n, np.inf), np.zeros(n)


def with_crystals(
    batch: np.ndarray, cell: np.ndarray, reach: Sequence[float], widths: Sequence[float]
) -> Space:
    """Return the space of structures of which those with a finite reach (Å) are crystals.

    batch: (N,). cell: (B, 3, 3), Å. widths: 1/Å, of Ewald's splitting.
    """
    shifts = [images(own, far) for own, far in zip(cell, reach, strict=True)]
    ends = np.cumsum([len(of_one) for of_one in shifts])
    return Space(
        batch,
        compiled.pair_setup.last_partners(batch),
        np.concatenate(shifts),
        ends - [len(of_one) for of_one in shifts],
        ends,
        np.array(reach, dtype=np.float64),
        np.array(widths, dtype=np.float64),
    )


def images(cell: np.ndarray, reach: float) -> np.ndarray:
    """Return the cell counts (M, 3) of images that atoms inside a cell may meet within reach, Å.

    The cell itself comes first, then those of one and the opposite side in turn, by distance. Of a
    molecule, whose reach is infinite, there is no other. cell: (3, 3), Å.
    """
    if not np.isfinite(reach):
        return np.zeros((1, 3))
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    most = np.floor(reach / heights).astype(int) + 1
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in most), indexing="ij"), axis=-1)
    half = grid.reshape(-1, 3)[grid[..., 0].size // 2 + 1 :]
    lengths = np.linalg.norm(half @ cell, axis=1)
    half = half[np.argsort(lengths, kind="stable")]
    half = half[: np.count_nonzero(lengths <= reach + np.linalg.norm(cell, axis=1).sum())]
    both = np.stack([half, -half], axis=1).reshape(-1, 3)
    return np.concatenate([np.zeros((1, 3)), both])


def points(positions: Tensor, cell: Tensor, batch: Tensor, is_crystal: Tensor) -> Tensor:
    """Return positions, those of crystals inside their cell, and the rows of every cell.

    (N + 4 B, 3), Å and Å³; see `pair_inputs`. Differentiable.
    """
    whole = torch.where(is_crystal[:, None, None], cell, torch.eye(3).to(cell))
    inside = torch.einsum("ni,nij->nj", positions, torch.linalg.inv(whole)[batch]).detach()
    counts = torch.where(is_crystal[batch, None], inside.floor(), 0.0)
    moved = positions - torch.einsum("ni,nij->nj", counts, cell[batch])
    volume = torch.linalg.det(whole).abs()
    rows = torch.cat([cell, volume[:, None, None] * cell.new_tensor([[[1.0, 0.0, 0.0]]])], dim=1)
    return torch.cat([moved, rows.reshape(-1, 3)])
