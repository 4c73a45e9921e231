"""Nothing is changed or remembered: inputs, weights, results, checkpoints."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from molequi.graphs.graph import AtomGraph, collate
from molequi.models.checkpoint import load_model, save_model
from molequi.models.molecular import MolecularModel
from molequi.models.probes import built_in_probes

ORGANIC = (1, 6, 7, 8)
CUTOFF = 4.5  # Å, of the models in conftest.py
*MOLECULES, CRYSTAL = built_in_probes(ORGANIC)


def tensors_of(graph: AtomGraph) -> list[Tensor]:
    return [field.clone() for field in graph]


def test_inputs_are_not_changed(model: MolecularModel) -> None:
    graph = collate([MOLECULES[2].graph(CUTOFF), CRYSTAL.graph(CUTOFF)])
    before = tensors_of(graph)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    model(graph)
    model.compute(graph, stress=True)
    model.compute(graph, create_graph=True)
    model.embed(graph)
    model.check_input(graph)
    model.hessian(MOLECULES[2].graph(CUTOFF))
    assert all(torch.equal(now, then) for now, then in zip(graph, before, strict=True))
    assert not any(field.requires_grad for field in graph)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_results_are_the_same_every_time(model: MolecularModel, outputs_of) -> None:
    first, second = (outputs_of(model, *MOLECULES) for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_detached_results_carry_no_graph(model: MolecularModel, outputs_of) -> None:
    assert not any(value.requires_grad for value in outputs_of(model, *MOLECULES).values())


def test_checkpoint_round_trip_is_identical(model: MolecularModel, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    graph = collate([*(structure.graph(CUTOFF) for structure in MOLECULES), CRYSTAL.graph(CUTOFF)])
    expected = model.compute(graph, stress=True)
    found = loaded.compute(graph, stress=True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name].nan_to_num(), value.nan_to_num()), name
        assert found[name].dtype == value.dtype
    assert torch.equal(model.embed(graph), loaded.embed(graph))
