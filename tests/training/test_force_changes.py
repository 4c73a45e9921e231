"""Training on changes of forces: that the loss sees them, and what comes of it."""

from __future__ import annotations

import json
import signal

import pytest
import torch

from molequi.datasets.beside import Beside
from molequi.datasets.displaced import displaced
from molequi.datasets.npz import save_npz
from molequi.datasets.sampler import GraphBatches
from molequi.errors import RunInterruptedError
from molequi.evaluation import evaluate
from molequi.experiments import fit
from molequi.models.checkpoint import load_model
from molequi.models.making import make_model
from molequi.properties import PROPERTIES
from molequi.training.figures import draw_run
from molequi.training.fit import fit_frames
from molequi.training.loss import Objective
from molequi.training.predictions import predict_frames, with_others
from tests.training.conftest import _energies
from tests.training.test_fit import KillAt, assert_same_run

TARGETS = ["energy", "forces", "force_changes"]


def labelled(frames, *, every: int = 3, step: float = 0.05):
    """Every so many structures with the difference of the toy law's forces along a random way."""
    rows = [PROPERTIES[name] for name in ("force_changes", "displacements")]
    frames = frames.with_unlabelled(rows)
    generator = torch.Generator().manual_seed(7)
    for k in range(0, len(frames), every):
        atoms = slice(int(frames.offsets[k]), int(frames.offsets[k + 1]))
        positions, numbers = frames.positions[atoms], frames.atomic_numbers[atoms]
        way = torch.randn(positions.shape, generator=generator, dtype=torch.float64)
        way = step * way / way.norm()
        one = torch.zeros(len(numbers), dtype=torch.int64)
        ends = [_energies(positions + sign * way, numbers, one, 1)[1] for sign in (1.0, -1.0)]
        frames.targets["displacements"][atoms] = way
        frames.targets["force_changes"][atoms] = (ends[0] - ends[1]) / (2.0 * step)
    return frames


@pytest.fixture(scope="module")
def model():
    return make_model(
        (1, 6, 8), ["energy", "forces"], n_layers=1, n_channels=4, l_max=1, cutoff=4.0
    ).double()


def test_change_of_a_model_is_its_hessian_times_the_way(model, toy_frames):
    frames = labelled(toy_frames(3), every=1, step=1e-3)
    found = predict_frames(model, frames, ["force_changes"])["force_changes"]
    for k in range(3):
        atoms = slice(int(frames.offsets[k]), int(frames.offsets[k + 1]))
        way = frames.targets["displacements"][atoms].reshape(-1)
        column = -model.hessian(frames.graph(k, model.cutoff)) @ (way / way.norm())
        torch.testing.assert_close(found[atoms].reshape(-1), column, rtol=1e-4, atol=1e-5)


def test_gradient_of_the_loss_is_that_of_finite_differences(model, toy_frames):
    """Of a weight of each layer, by a step of the weight."""
    frames = labelled(toy_frames(6))
    batch = GraphBatches(frames.with_targets(TARGETS), model.cutoff)[torch.arange(6)]
    objective = Objective([PROPERTIES["force_changes"]], {"force_changes": 1.0}, huber=None)
    network = model.requires_grad_(True)

    def loss() -> torch.Tensor:
        def compute(graph):
            return network.compute(graph, create_graph=True)

        outputs = with_others(compute(batch.graph), batch.beside, compute)
        return objective.sums(outputs, batch.targets, batch.graph).sum()

    weights = [weight for weight in network.parameters() if weight.numel() > 1]
    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    tested = 0
    for weight, gradient in zip(weights, gradients, strict=True):
        if gradient is None or gradient.abs().max() < 1e-6:
            continue
        place = int(gradient.abs().argmax())
        values = []
        for step in (1e-5, -2e-5):
            weight.data.view(-1)[place] += step
            values.append(float(loss().detach()))
        weight.data.view(-1)[place] += 1e-5
        expected = (values[0] - values[1]) / 2e-5
        assert float(gradient.view(-1)[place]) == pytest.approx(expected, rel=1e-5)
        tested += 1
    assert tested > 5


def test_batches_without_labels_move_nothing(model, toy_frames):
    frames = labelled(toy_frames(6)).with_targets(TARGETS)
    assert GraphBatches(frames, model.cutoff)[torch.tensor([1, 2])].beside.displaced is None
    assert displaced(frames, torch.tensor([1, 3]), model.cutoff).graph.n_molecules == 2
    outputs = with_others(model.compute(frames.graph(1, model.cutoff)), Beside(), model.compute)
    assert outputs["force_changes"].abs().max() == 0.0


def test_run_learns_them_and_says_so(toy_frames, toy_config, toy_splits, tmp_path, monkeypatch):
    monkeypatch.setattr("molequi.training.finish.draw_run", draw_run)  # see `figures`
    save_npz(
        labelled(toy_frames(120), every=2), tmp_path / "toy.npz", splits=toy_splits(80, 20, 20)
    )
    data = {"path": str(tmp_path / "toy.npz"), "targets": TARGETS, "split": {"kind": "stored"}}
    weights = {"forces": 10.0, "force_changes": 10.0}
    run = fit(toy_config(data=data, training={"epochs": 15, "weights": weights}), tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    row = result["force_changes"]
    # The structures 100 to 119, of which every other one has a label.
    n_atoms = sum((4, 3, 6)[k % 3] for k in range(100, 120, 2))
    assert (row["unit"], row["count"]) == ("eV/Å²", 3 * n_atoms)
    assert row["mae"] < 0.5 * row["baseline_mae"]
    assert "force_changes" not in load_model(run / "model.safetensors").properties
    for found in (
        evaluate(run, split="test"),
        evaluate(run / "model.safetensors", tmp_path / "toy.npz", split="test"),
    ):
        for key in ("mae", "rmse", "count", "baseline_mae"):
            assert found["force_changes"][key] == pytest.approx(row[key], rel=1e-3)
    assert (run / "plots" / "parity_force_changes.png").is_file()


def test_one_process_or_its_parts_count_the_same(model, toy_frames):
    """The sums of the loss over the parts of a batch are those of the batch."""
    frames = labelled(toy_frames(8)).with_targets(TARGETS)
    batches = GraphBatches(frames, model.cutoff)
    objective = Objective([PROPERTIES["force_changes"]], {"force_changes": 0.5})
    totals = []
    for parts in ([torch.arange(8)], [torch.arange(0, 8, 2), torch.arange(1, 8, 2)]):
        sums, counts = 0.0, 0.0
        for part in parts:
            graph, targets, moved = batches[part]
            outputs = with_others(model.compute(graph), moved, model.compute)
            sums += float(objective.sums(outputs, targets, graph).detach())
            counts += float(objective.counts(targets))
        totals.append((sums, counts))
    assert totals[1] == pytest.approx(totals[0], rel=1e-10)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(toy_frames, toy_config, toy_splits, tmp_path):
    """With gaps that leave one process without a displacement, or without a spread of labels."""
    frames = labelled(toy_frames(24), every=5).with_unlabelled([PROPERTIES["forces_std"]])
    frames.targets["forces_std"][: frames.offsets[7]] = 0.05
    runs = []
    for devices in (1, 2):
        config = toy_config(
            data={"targets": [*TARGETS, "forces_std"]},
            training={"dtype": "float64", "devices": devices},
        )
        runs.append(fit_frames(config, frames, toy_splits(15, 6, 3), tmp_path / str(devices)))
    first, second = (load_model(run / "model.safetensors").state_dict() for run in runs)
    for name, value in first.items():
        assert torch.allclose(value, second[name], rtol=1e-6, atol=1e-7), name


def test_interrupted_run_ends_with_the_same_numbers(toy_frames, toy_config, toy_splits, tmp_path):
    """With changes of forces and spreads among its targets, to the last bit."""
    frames = labelled(toy_frames(24), every=2)
    frames = frames.with_unlabelled([PROPERTIES[name] for name in ("forces_std", "energy_std")])
    config = toy_config(data={"targets": [*TARGETS, "forces_std", "energy_std"]})
    splits = toy_splits(18, 6, 0)
    whole = fit_frames(config, frames, splits, tmp_path / "whole")
    with pytest.raises(RunInterruptedError):
        fit_frames(config, frames, splits, tmp_path / "cut", callbacks=[KillAt(7, signal.SIGTERM)])
    cut = fit_frames(config, frames, splits, tmp_path / "cut", resume=True)
    assert_same_run(whole, cut)
    # Calibrated once more, from where training ended and not from the calibration.
    assert_same_run(whole, fit_frames(config, frames, splits, tmp_path / "cut", resume=True))
