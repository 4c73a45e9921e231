"""Buffers that a pass takes again at its next call.

Memory fresh from the operating system costs as much as the arithmetic done on it: every page is
cleared and mapped when it is first touched.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """The n-th tensor taken after `restart` lies where the n-th tensor lay before.

    One pass at a time may use it.
    """

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self._next = 0

    def mark(self) -> int:
        """Return a place to go back to."""
        return self._next

    def restart(self, mark: int = 0) -> None:
        """Forget all tensors that were taken after `mark`: their memory is given out again."""
        self._next = mark

    def empty(self, like: Tensor, *shape: int) -> Tensor:
        """Return a contiguous tensor of this shape with the dtype of `like`.

        Its values are arbitrary.
        """
        size = math.prod(shape)
        if self._next == len(self._buffers):
            self._buffers.append(like.new_empty(size))
        elif (
            self._buffers[self._next].numel() < size
            or self._buffers[self._next].dtype != like.dtype
        ):
            # Somewhat larger, because the number of edges changes a little from step to step.
            self._buffers[self._next] = torch.empty(
                size + size // 8, dtype=like.dtype, device=like.device
            )
        self._next += 1
        return self._buffers[self._next - 1][:size].view(shape)


class WorkspacePool:
    """Workspaces that nobody uses; passes that run at the same time get one each."""

    def __init__(self) -> None:
        self._free: list[Workspace] = []

    def __reduce__(self) -> tuple[type[WorkspacePool], tuple[()]]:
        """Copy and pickle an empty pool: buffers hold nothing that is worth it."""
        return WorkspacePool, ()

    def take(self) -> Workspace:
        """Return a workspace to be used by one pass."""
        try:
            workspace = self._free.pop()
        except IndexError:
            workspace = Workspace()
        workspace.restart()
        return workspace

    def give_back(self, workspace: Workspace) -> None:
        """Take a workspace back whose tensors nobody needs any more.

        Its memory is kept for as long as the pool.
        """
        self._free.append(workspace)
