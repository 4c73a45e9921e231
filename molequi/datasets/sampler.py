"""The order of batches, a pure function of (seed, epoch).

Processes share each batch without padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from molequi.datasets.beside import Beside, beside
from molequi.datasets.in_memory import Frames
from molequi.graphs.graph import AtomGraph


class BatchOrder(Sampler[Tensor]):
    """Structure numbers of each batch of one epoch, for one of `world_size` processes.

    The global batch is what one process alone would see. Its structures are dealt out from the
    largest to the smallest, back and forth, so that no process waits long for another; the parts
    differ by at most one structure and may be empty.

    indices: (n,), int64, the structures of the split. sizes: of all structures, by their number;
    without them all count alike. epoch, first_batch: set by `set_epoch`.
    """

    def __init__(
        self,
        indices: Tensor,
        batch_size: int,
        *,
        shuffle: bool,
        seed: int = 0,
        sizes: Tensor | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.indices, self.batch_size, self.shuffle, self.seed = indices, batch_size, shuffle, seed
        self.sizes, self.rank, self.world_size = sizes, rank, world_size
        self.epoch, self.first_batch = 0, 0

    def set_epoch(self, epoch: int, first_batch: int | None = None) -> None:
        """Choose the epoch to serve next.

        A run that resumes within an epoch starts at its batch `first_batch`.
        """
        if first_batch is not None:
            self.first_batch = first_batch
        elif epoch != self.epoch:
            self.first_batch = 0
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches - self.first_batch

    @property
    def n_batches(self) -> int:
        """Batches of a whole epoch."""
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        order = self.indices
        if self.shuffle:
            generator = torch.Generator().manual_seed(mix_seed(self.seed, self.epoch))
            order = order[torch.randperm(len(order), generator=generator)]
        for batch in order.split(self.batch_size)[self.first_batch :]:
            yield batch if self.world_size == 1 else self._share(batch)

    def _share(self, batch: Tensor) -> Tensor:
        if self.sizes is not None:
            batch = batch[self.sizes[batch].argsort(descending=True, stable=True)]
        place = torch.arange(len(batch))
        seat = place % self.world_size
        is_back = place // self.world_size % 2 == 1
        return batch[torch.where(is_back, self.world_size - 1 - seat, seat) == self.rank]


class TrainingBatch(NamedTuple):
    """Some structures as one graph, their targets by name, and what these take beside it."""

    graph: AtomGraph
    targets: dict[str, Tensor]
    beside: Beside = Beside()


class GraphBatches(Dataset[TrainingBatch]):
    """Maps structure numbers (b,) to the graph and targets of these structures. cutoff: Å."""

    def __init__(self, frames: Frames, cutoff: float) -> None:
        self.frames, self.cutoff = frames, cutoff

    def __getitem__(self, indices: Tensor) -> TrainingBatch:
        others = beside(self.frames, indices, self.cutoff)
        return TrainingBatch(*self.frames.batch(indices, self.cutoff), others)

    def __len__(self) -> int:
        return len(self.frames)


def mix_seed(*numbers: int) -> int:
    """Return a seed below 2**63 that depends on all the numbers and their order."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 % 2**64
        state ^= state >> 31
    return state % 2**63


def unchanged(batch: Any) -> Any:
    """Return the batch: the loader has nothing left to collate."""
    return batch
