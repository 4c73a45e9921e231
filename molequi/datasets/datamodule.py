"""Lightning's face of labelled structures: loaders of the splits."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from molequi.datasets.in_memory import Frames
from molequi.datasets.sampler import BatchOrder, GraphBatches, TrainingBatch, unchanged
from molequi.runtime.files import TERMINATING

_ENDING = (signal.SIGINT, *TERMINATING)


class MolecularDataModule(LightningDataModule):
    """Loaders of the splits of one set of structures.

    splits: train, valid, test -> structure numbers. cutoff: Å. batch_size: structures over all
    processes together. workers: loader processes.
    resume_at: (epoch, batch) of the training order to go on from.
    """

    def __init__(
        self,
        frames: Frames,
        splits: Mapping[str, Tensor],
        cutoff: float,
        *,
        batch_size: int = 32,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
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
        rank, world_size = (
            (self.trainer.global_rank, self.trainer.world_size)
            if self.trainer is not None
            else (0, 1)
        )
        order = BatchOrder(
            self.splits[split],
            self.batch_size,
            shuffle=split == "train",
            seed=self.seed,
            sizes=self.batches.frames.n_atoms,
            rank=rank,
            world_size=world_size,
        )
        epoch, first_batch = self.resume_at
        if split == "train" and (self.trainer is None or self.trainer.current_epoch == epoch):
            order.set_epoch(epoch, first_batch)
        return order

    def train_dataloader(self) -> DataLoader[TrainingBatch]:
        """Return the loader of the training batches."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[TrainingBatch]:
        """Return the loader of the validation batches."""
        return self._loader("valid")

    def test_dataloader(self) -> DataLoader[TrainingBatch]:
        """Return the loader of the test batches."""
        return self._loader("test")

    def transfer_batch_to_device(
        self, batch: TrainingBatch, device: torch.device, dataloader_idx: int
    ) -> TrainingBatch:
        """Move a batch; float64 tensors stay float64."""
        graph, targets, beside = batch
        return TrainingBatch(
            graph.to(device),
            {name: values.to(device) for name, values in targets.items()},
            beside.to(device),
        )

    def _loader(self, split: str) -> DataLoader[TrainingBatch]:
        return _Loader(
            self.batches,
            sampler=self.order(split),
            batch_size=None,
            collate_fn=unchanged,
            num_workers=self.workers,
            # A forked child that enters OpenMP is killed; spawned ones are not.
            multiprocessing_context="spawn" if self.workers else None,
            persistent_workers=self.workers > 0,
            worker_init_fn=leave_signals_to_the_parent,
        )


class _Loader(DataLoader[TrainingBatch]):
    """A loader whose processes no signal ends while they start, which takes seconds."""

    def __iter__(self) -> Any:
        """Return an iterator over the batches."""
        if not self.num_workers or os.name != "posix":
            return super().__iter__()
        # Its own start would let the signals through again.
        resource_tracker.ensure_running()
        with _signals_later():
            return super().__iter__()


@contextmanager
def _signals_later() -> Iterator[None]:
    """Hold back signals that end a run; processes that are started here never see them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent(worker: int) -> None:
    """Keep a loader process alive when Ctrl-C or a batch system signals all processes of a run.

    The parent needs its next batch to stop in order.
    """
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
