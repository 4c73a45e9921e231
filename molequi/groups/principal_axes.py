"""Frames that turn with a set of points: its principal axes in all their signs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def principal_frames(positions: Tensor, batch: Tensor, n_sets: int) -> Tensor:
    """Return the frames of the principal axes of each set of points, in columns: (8, B, 3, 3).

    positions: (N, 3). batch: (N,), the set that each belongs to. The first four are right-handed.
    All points count alike. The set of frames turns with the points; where two moments of inertia
    are equal it is not determined, and jumps (Puny et al., Frame averaging for invariant and
    equivariant network design, ICLR 2022).
    """
    sums = positions.new_zeros(n_sets, 4).index_add(
        0, batch, functional.pad(positions, (0, 1), value=1.0)
    )
    centred = positions - (sums[:, :3] / sums[:, 3:].clamp(min=1.0))[batch]
    spread = positions.new_zeros(n_sets, 3, 3).index_add(
        0, batch, centred[:, :, None] * centred[:, None, :]
    )
    axes = torch.linalg.eigh(spread)[1]
    axes = axes * torch.linalg.det(axes).sign()[:, None, None]
    signs = torch.tensor(
        [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=axes.dtype, device=axes.device
    )
    return axes * torch.cat([signs, -signs])[:, None, None, :]
