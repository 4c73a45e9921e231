"""Memory of a pass as arrays."""

from __future__ import annotations

import math

import numpy as np
import torch

from molequi.nn.frozen.workspace import Workspace


class Memory:
    """Arrays of one dtype in the buffers of a workspace.

    As there, the n-th array taken after `restart` lies where the n-th lay before.
    """

    def __init__(self, workspace: Workspace, dtype: torch.dtype) -> None:
        self._workspace, self._like = workspace, torch.empty(0, dtype=dtype)
        self.mark, self.restart = workspace.mark, workspace.restart

    def empty(self, *shape: int) -> np.ndarray:
        """Return a contiguous array; its values are arbitrary."""
        return self._workspace.empty(self._like, math.prod(shape)).numpy().reshape(shape)

    def rows(self, n_atoms: int, n_channels: int, n_rows: int) -> np.ndarray:
        """Return an array of rows of atoms: (n_atoms, n_rows, n_channels)."""
        return self.empty(n_atoms, n_rows, n_channels)
