"""Which kernels a training takes: those that its work is worth, or the memory of a step needs."""

from __future__ import annotations

import pytest
import torch

from molequi.datasets.datamodule import MolecularDataModule
from molequi.kernels import policy
from molequi.training.fit import choose_kernels
from molequi.training.setup import start_model


@pytest.mark.parametrize(("forces", "factor"), [(True, policy.TRAINING_MEMORY), (False, 1.0)])
def test_a_step_that_plain_torch_has_no_memory_for_gets_kernels(
    toy_frames, toy_config, monkeypatch, forces, factor
):
    targets = ["energy", "forces"] if forces else ["energy"]
    weights = {"forces": 10.0} if forces else {}
    config = toy_config(data={"targets": targets}, training={"weights": weights})
    frames = toy_frames(12)
    frames = type(frames)(
        **{
            **vars(frames),
            "targets": {name: frames.targets[name] for name in targets},
            "properties": {name: frames.properties[name] for name in targets},
        }
    )
    model = start_model(config, frames).model
    size = config.training.batch_size
    data = MolecularDataModule(frames, {"train": torch.arange(12)}, model.cutoff, batch_size=size)
    largest = frames.n_atoms.argsort(descending=True)[:size]
    n_edges = data.batches[largest].graph.edge_index.shape[1]
    needed = factor * model.backbone.operations(n_edges)
    monkeypatch.setattr(policy, "LARGEST_PLAIN_PASS", 1.01 * needed)
    assert choose_kernels(config.training, model, data) == "reference"
    monkeypatch.setattr(policy, "LARGEST_PLAIN_PASS", 0.99 * needed)
    assert choose_kernels(config.training, model, data) == "generic"
