"""Batches for training: their order is a pure function of (seed, epoch), and processes share each batch without padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from molequi.datasets.flat import Frames
from molequi.graph import AtomGraph

Batch = tuple[AtomGraph, dict[str, Tensor]]


class BatchOrder(Sampler[Tensor]):
    """Structure numbers of each batch of one epoch, for one of `world_size` processes.

    The global batch is what one process alone would see; process r takes every world_size-th structure of it from the r-th on, so parts differ by
    at most one structure and may be empty.

    indices: (n,), int64, the structures of the split. epoch, first_batch: set by `set_epoch`.
    """

    def __init__(self, indices: Tensor, batch_size: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        self.indices, self.batch_size, self.shuffle, self.seed = indices, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.epoch, self.first_batch = 0, 0

    def set_epoch(self, epoch: int, first_batch: int | None = None) -> None:
        """Choose the epoch to serve next; a run that resumes within an epoch starts at its batch `first_batch`."""
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
            yield batch[self.rank :: self.world_size]


class GraphBatches(Dataset[Batch]):
    """Maps structure numbers (b,) to the graph and targets of these structures. cutoff: Å."""

    def __init__(self, frames: Frames, cutoff: float) -> None:
        self.frames, self.cutoff = frames, cutoff

    def __getitem__(self, indices: Tensor) -> Batch:
        return self.frames.batch(indices, self.cutoff)

    def __len__(self) -> int:
        return len(self.frames)


class MolecularDataModule(LightningDataModule):
    """Loaders of the splits of one set of structures.

    splits: train, valid, test -> structure numbers. cutoff: Å. batch_size: structures over all processes together. workers: loader processes.
    resume_at: (epoch, batch) of the training order to go on from.
    """

    def __init__(self, frames: Frames, splits: Mapping[str, Tensor], cutoff: float, *, batch_size: int = 32, seed: int = 0, workers: int = 0) -> None:
        super().__init__()
        self.batches = GraphBatches(frames, cutoff)
        self.splits = dict(splits)
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.resume_at = (0, 0)

    @property
    def n_batches(self) -> int:
        """Batches of one epoch of training."""
        return -(-len(self.splits["train"]) // self.batch_size)

    def order(self, split: str) -> BatchOrder:
        """Return the batch order of a split for this process; only training shuffles."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)
        order = BatchOrder(self.splits[split], self.batch_size, shuffle=split == "train", seed=self.seed, rank=rank, world_size=world_size)
        epoch, first_batch = self.resume_at
        if split == "train" and (self.trainer is None or self.trainer.current_epoch == epoch):
            order.set_epoch(epoch, first_batch)
        return order

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the training batches."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the validation batches."""
        return self._loader("valid")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of the test batches."""
        return self._loader("test")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; float64 tensors stay float64."""
        graph, targets = batch
        return graph.to(device), {name: values.to(device) for name, values in targets.items()}

    def _loader(self, split: str) -> DataLoader[Batch]:
        return DataLoader(
            self.batches,
            sampler=self.order(split),
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=self.workers,
            # A forked child that enters OpenMP is killed; spawned ones are not.
            multiprocessing_context="spawn" if self.workers else None,
            persistent_workers=self.workers > 0,
        )


def mix_seed(*numbers: int) -> int:
    """Return a seed below 2**63 that depends on all the numbers and their order."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 % 2**64
        state ^= state >> 31
    return state % 2**63


def _unchanged(batch: Batch) -> Batch:
    return batch
