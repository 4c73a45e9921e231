"""Arrays that a pass takes again at its next call: see `nn.frozen.workspace`."""

from __future__ import annotations

import math

import numpy as np
import torch


class Memory:
    """The n-th array taken after `restart` lies where the n-th lay before.

    One pass at a time may use it. dtype: of all arrays.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = np.dtype(str(dtype).removeprefix("torch."))
        self._arrays: list[np.ndarray] = []
        self._next = 0

    def mark(self) -> int:
        """Return a place to go back to."""
        return self._next

    def restart(self, mark: int = 0) -> None:
        """Forget all arrays that were taken after `mark`: their memory is given out again."""
        self._next = mark

    def empty(self, *shape: int) -> np.ndarray:
        """Return a contiguous array; its values are arbitrary."""
        place, self._next = self._next, self._next + 1
        if place == len(self._arrays):
            self._arrays.append(np.empty(0, self._dtype))
        # The same shape as before is the rule, and nothing has to be made for it.
        if self._arrays[place].shape != shape:
            self._arrays[place] = self._shaped(self._arrays[place], shape)
        return self._arrays[place]

    def rows(self, n_atoms: int, n_channels: int, n_rows: int) -> np.ndarray:
        """Return an array of rows of atoms: (n_atoms, n_rows, n_channels)."""
        return self.empty(n_atoms, n_rows, n_channels)

    def _shaped(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return an array of a shape in the memory of another one, or in more."""
        whole, size = array if array.base is None else array.base, math.prod(shape)
        if whole.size < size:
            # Next time somewhat larger: the number of edges changes a little from step to step.
            whole = np.empty(size + (size // 8 if whole.size else 0), self._dtype)
        return whole[:size].reshape(shape)


class MemoryPool:
    """Memory that nobody uses; passes that run at the same time get one each."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._free: list[Memory] = []

    def __reduce__(self) -> tuple[type[MemoryPool], tuple[torch.dtype]]:
        """Copy and pickle an empty pool: arrays hold nothing that is worth it."""
        return MemoryPool, (self._dtype,)

    def take(self) -> Memory:
        """Return memory to be used by one pass."""
        try:
            memory = self._free.pop()
        except IndexError:
            memory = Memory(self._dtype)
        memory.restart()
        return memory

    def give_back(self, memory: Memory) -> None:
        """Take memory back whose arrays nobody needs any more; it is kept as long as the pool."""
        self._free.append(memory)
