"""Batch order: a pure function of seed and epoch, shared by processes without padding."""

from __future__ import annotations

import pytest
import torch

from molequi.datasets.datamodule import MolecularDataModule
from molequi.datasets.making import make_frames
from molequi.datasets.sampler import BatchOrder, mix_seed
from molequi.properties import PROPERTIES


def epoch_of(order: BatchOrder, epoch: int, first_batch: int | None = None) -> list[list[int]]:
    order.set_epoch(epoch, first_batch)
    return [batch.tolist() for batch in order]


def test_order_depends_on_seed_and_epoch_alone():
    indices = torch.arange(100, 123)
    one, two = (BatchOrder(indices, 5, shuffle=True, seed=3) for _ in range(2))
    epoch_of(two, 7)
    assert epoch_of(one, 2) == epoch_of(two, 2)
    assert epoch_of(one, 2) != epoch_of(one, 3)
    assert epoch_of(one, 2) != epoch_of(BatchOrder(indices, 5, shuffle=True, seed=4), 2)
    assert sorted(sum(epoch_of(one, 2), [])) == indices.tolist()
    assert epoch_of(BatchOrder(indices, 5, shuffle=False), 2)[0] == [100, 101, 102, 103, 104]


def test_resumed_epoch_serves_the_rest_and_the_next_one_all():
    order = BatchOrder(torch.arange(11), 3, shuffle=True)
    whole = epoch_of(order, 4)
    assert epoch_of(order, 4, 2) == whole[2:]
    assert len(order) == 2
    order.set_epoch(4)
    assert len(order) == 2
    assert len(epoch_of(order, 5)) == len(order) == 4


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_each_batch_without_padding(world_size):
    whole = epoch_of(BatchOrder(torch.arange(13), 4, shuffle=True), 1)
    parts = [
        epoch_of(BatchOrder(torch.arange(13), 4, shuffle=True, rank=rank, world_size=world_size), 1)
        for rank in range(world_size)
    ]
    for k, batch in enumerate(whole):
        assert sorted(sum((part[k] for part in parts), [])) == sorted(batch)
    # 13 structures in batches of 4 leave one for the last batch: the other processes get an empty
    # part of it.
    assert [len(part[-1]) for part in parts] == [1] + [0] * (world_size - 1)


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_processes_have_about_the_same_number_of_atoms(world_size):
    """No process waits long for another: of 24 molecules the shares differ by few atoms."""
    sizes = torch.randint(3, 60, (480,), generator=torch.Generator().manual_seed(0))
    shares = torch.stack([
        torch.stack([sizes[batch].sum() for batch in BatchOrder(
            torch.arange(480), 24, shuffle=True, sizes=sizes, rank=rank, world_size=world_size
        )])
        for rank in range(world_size)
    ]).double()  # fmt: skip
    excess = shares.max(dim=0).values / shares.mean(dim=0) - 1.0
    assert float(shares.sum()) == float(sizes.sum())
    assert float(excess.mean()) < 0.03 * (world_size - 1)


def test_mixed_seeds_differ():
    seeds = {mix_seed(a, b, c) for a in range(20) for b in range(20) for c in range(20)}
    assert len(seeds) == 8000
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_loader_gives_graphs_and_targets(workers):
    energy = torch.arange(5, dtype=torch.float64)
    frames = make_frames(
        torch.arange(30.0).reshape(10, 3),
        torch.ones(10),
        torch.full((5,), 2),
        targets={"energy": energy},
        properties={"energy": PROPERTIES["energy"]},
    )
    module = MolecularDataModule(
        frames,
        {"train": torch.arange(4), "valid": torch.tensor([4])},
        6.0,
        batch_size=3,
        workers=workers,
    )
    batches = list(module.train_dataloader())
    assert [batch.graph.n_molecules for batch in batches] == [3, 1]
    assert module.n_batches == 2
    energies = torch.cat([batch.targets["energy"] for batch in batches])
    assert sorted(energies.tolist()) == [0, 1, 2, 3]
    graph = batches[1].graph
    assert graph.edge_index.shape[1] == 2
    assert graph.positions.dtype == torch.float64
