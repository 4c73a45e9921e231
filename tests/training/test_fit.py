"""Whole runs on toy molecules: what they learn, what they leave behind, what they refuse."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal

import pytest
import torch
from pytorch_lightning import Callback

from molequi.datasets.in_memory import Frames
from molequi.datasets.npz import save_npz
from molequi.errors import NotConvergedError, RunInterruptedError, UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit, train
from molequi.models.checkpoint import load_model
from molequi.properties import declare
from molequi.training.clock import Clock
from molequi.training.config import load_config
from molequi.training.fit import fit_frames
from molequi.training.metrics_file import read_metrics
from molequi.training.optimizers.registry import OPTIMIZERS
from molequi.training.state import read_state


class KillAt(Callback):
    """Sends this process a signal after the given optimiser step."""

    def __init__(self, step: int, number: int) -> None:
        self.step, self.number = step, number

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.position.step == self.step:
            os.kill(os.getpid(), self.number)


class PowerFailureError(Exception):
    """What no code of a run catches, so that nothing is saved."""


class FailAtOnce(Callback):
    """Ends a run before its first batch."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        raise PowerFailureError


def weights_of(run) -> dict[str, torch.Tensor]:
    return load_model(run / "model.safetensors").state_dict()


def assert_same_run(one, two) -> None:
    """Weights, state and metrics are identical; only the clock may differ."""
    first, second = weights_of(one), weights_of(two)
    assert all(torch.equal(first[name], second[name]) for name in first)
    states = [read_state(run / "last.ckpt") for run in (one, two)]
    assert states[0]["watch"] == states[1]["watch"]
    assert all(
        torch.equal(value, states[1]["model"][name]) for name, value in states[0]["model"].items()
    )
    metrics = [
        [
            {key: value for key, value in line.items() if key != "seconds"}
            for line in read_metrics(run / "metrics.csv")
        ]
        for run in (one, two)
    ]
    assert metrics[0] == metrics[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy_frames, toy_config, toy_splits):
    """A run over a few epochs from a file, through the public function."""
    folder = tmp_path_factory.mktemp("toy")
    save_npz(toy_frames(60), folder / "toy.npz", splits=toy_splits(40, 10, 10))
    config = toy_config(
        data={
            "path": str(folder / "toy.npz"),
            "targets": ["energy", "forces", "dipole"],
            "split": {"kind": "stored"},
        },
        training={"epochs": 15, "second_stage": {"start": 0.7, "weights": {"energy": 5.0}}},
        level={"energy": "toy"},
    )
    return fit(config, folder / "run"), config


@pytest.fixture(scope="module", autouse=True)
def figures(finished, undrawn):
    """Draw the figures of the run that the tests share, and no others."""


def test_run_learns_and_says_so(finished):
    run, _ = finished
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert set(result) == {"energy", "energy_per_atom", "forces", "dipole"}
    for name, factor in (("energy_per_atom", 0.9), ("forces", 0.5), ("dipole", 0.5)):
        assert result[name]["mae"] < factor * result[name]["baseline_mae"], name
    assert (result["forces"]["unit"], result["forces"]["count"]) == (
        "eV/Å",
        3 * sum((4, 3, 6)[k % 3] for k in range(50, 60)),
    )
    metrics = read_metrics(run / "metrics.csv")
    assert [line["epoch"] for line in metrics] == list(range(15))
    assert metrics[-1]["step"] == 150
    assert metrics[-1]["train_loss_forces"] < metrics[0]["train_loss_forces"]


def test_run_directory_is_complete_and_reusable(finished, tmp_path):
    run, config = finished
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    plots = {
        f"plots/{name}.png"
        for name in ("learning_curve", "parity_energy", "parity_forces", "parity_dipole")
    }
    files = {
        "config.yaml",
        "split.json",
        "model.safetensors",
        "last.ckpt",
        "metrics.csv",
        "log.txt",
        "result.json",
        "report.html",
        "test_predictions.npz",
    }
    assert names == plots | files
    again = load_config(run / "config.yaml")
    assert again.model_dump(exclude={"data"}) == config.model_dump(exclude={"data"})
    assert again.data.split.kind == "stored"
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert "epoch 15" in log
    assert "eV/Å" in log
    assert "baseline MAE" in log
    assert "rank 3 of 3 elements" in log


def test_model_of_a_run_knows_its_training(finished):
    run, _ = finished
    metadata = load_model(run / "model.safetensors").metadata
    assert metadata.level == {"energy": "toy"}
    assert metadata.charge_multiplicity == ((0, 1),)
    assert metadata.isolated_atom_energies == {}
    assert metadata.training.n_structures == 40
    assert metadata.training.errors["forces"]["mae"] is not None


def test_evaluate_repeats_the_result_of_the_run(finished):
    run, config = finished
    stored = json.loads((run / "result.json").read_text(encoding="utf-8"))
    again = evaluate(run, split="test")
    from_file = evaluate(run / "model.safetensors", config.data.path, split="test", batch_size=3)
    for name, row in stored.items():
        assert again[name].pop("unit") == from_file[name].pop("unit") == row.pop("unit")
        # Measured once, at the end of a run.
        assert row.pop("violation", 0.0) < 1e-3
        assert again[name] == pytest.approx(row, rel=1e-4)
        assert from_file[name] == pytest.approx(row, rel=1e-4)
    assert evaluate(run)["forces"]["count"] > stored["forces"]["count"]


def test_same_seed_gives_the_same_run_and_another_seed_does_not(
    tmp_path, toy_frames, toy_config, toy_splits
):
    frames, splits = toy_frames(20), toy_splits(14, 6, 0)
    runs = [
        fit_frames(toy_config(training={"seed": seed}), frames, splits, tmp_path / name)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert_same_run(runs[0], runs[1])
    assert not all(
        torch.equal(value, weights_of(runs[2])[name]) for name, value in weights_of(runs[0]).items()
    )
    assert (runs[0] / "valid_predictions.npz").is_file()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_resume_after_an_interruption_in_mid_epoch_is_exact(
    optimizer, tmp_path, toy_frames, toy_config, toy_splits
):
    frames, splits = toy_frames(24), toy_splits(18, 6, 0)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    config = toy_config(
        training={
            "epochs": 3,
            "optimizer": optimizer,
            "ema": 0.9,
            "warmup_steps": 3,
            "second_stage": {"start": 0.4, "weights": {"energy": 10.0}},
        }
    )
    whole = fit_frames(config, frames, splits, tmp_path / "whole")
    with pytest.raises(RunInterruptedError, match="--resume") as caught:
        fit_frames(config, frames, splits, tmp_path / "cut", callbacks=[KillAt(7, signal.SIGTERM)])
    assert caught.value.signal_number == signal.SIGTERM
    assert read_state(tmp_path / "cut" / "last.ckpt")["position"]["batch"] == 3
    # What an epoch wrote after last.ckpt, as if the power had failed in between, is cut off.
    with (tmp_path / "cut" / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("1,2,3")
    with pytest.raises(PowerFailureError):
        fit_frames(config, frames, splits, tmp_path / "cut", resume=True, callbacks=[FailAtOnce()])
    cut = fit_frames(config, frames, splits, tmp_path / "cut", resume=True)
    assert_same_run(whole, cut)
    # A finished run has nothing left to do, and resuming it changes nothing.
    assert_same_run(whole, fit_frames(config, frames, splits, tmp_path / "cut", resume=True))
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_more_epochs_go_on_from_a_finished_run(tmp_path, toy_frames, toy_config, toy_splits):
    frames, splits = toy_frames(12), toy_splits(8, 4, 0)
    plateau = {"schedule": "plateau", "patience": 50}
    whole = fit_frames(
        toy_config(training={"epochs": 4, **plateau}), frames, splits, tmp_path / "whole"
    )
    more = toy_config(training={"epochs": 4, **plateau}), frames, splits, tmp_path / "more"
    fit_frames(toy_config(training={"epochs": 2, **plateau}), *more[1:])
    with pytest.raises(PowerFailureError):
        fit_frames(*more, resume=True, callbacks=[FailAtOnce()])
    assert not (more[-1] / "result.json").exists(), "it is complete no more"
    assert_same_run(whole, fit_frames(*more, resume=True))


def test_more_epochs_lead_through_both_stages_again(tmp_path, toy_frames, toy_config, toy_splits):
    """The optimiser forgets the gradients of the loss before at every change."""
    began = []

    class Watching(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            began.append(pl_module.position.stage_step)

    frames, splits, run = toy_frames(12), toy_splits(8, 4, 0), tmp_path / "run"
    stage = {"start": 0.5, "weights": {"energy": 5.0}}
    for epochs in (2, 6):
        config = toy_config(training={"epochs": epochs, "second_stage": stage})
        fit_frames(config, frames, splits, run, resume=epochs == 6, callbacks=[Watching()])
    assert began == [0, 2, 0, 6, 6, 6]


def test_a_second_ctrl_c_is_one(tmp_path, toy_frames, toy_config, toy_splits):
    """And not the exit that Lightning makes of it."""

    class Pressed(Callback):
        def on_train_batch_start(self, *_named):
            raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    frames, splits = toy_frames(12), toy_splits(8, 4, 0)
    with pytest.raises(KeyboardInterrupt):
        fit_frames(toy_config(), frames, splits, tmp_path / "run", callbacks=[Pressed()])
    assert signal.getsignal(signal.SIGINT) is before


def test_other_labels_are_not_those_of_the_run(tmp_path, toy_frames, toy_config, toy_splits):
    frames, splits = toy_frames(12), toy_splits(8, 4, 0)
    run = fit_frames(toy_config(training={"epochs": 1}), frames, splits, tmp_path / "run")
    more, before = toy_config(training={"epochs": 2}), (run / "metrics.csv").read_bytes()
    targets = {**frames.targets, "energy": -3.0 * frames.targets["energy"]}
    other = dataclasses.replace(frames, targets=targets)
    with pytest.raises(UserError, match="the labels or elements of the data are not those"):
        fit_frames(more, other, splits, run, resume=True)
    assert (run / "metrics.csv").read_bytes() == before
    # A run of before labels were kept goes on.
    state = torch.load(run / "last.ckpt", weights_only=False)
    del state["labels"]
    torch.save(state, run / "last.ckpt")
    fit_frames(more, frames, splits, run, resume=True)
    assert read_state(run / "last.ckpt")["position"]["epoch"] == 2


def test_loss_that_is_not_finite_stops_and_keeps_the_last_good_weights(
    tmp_path, toy_frames, toy_config, toy_splits
):
    frames, splits = toy_frames(20), toy_splits(16, 4, 0)
    config = toy_config(training={"epochs": 3})

    class Poison(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if pl_module.position.epoch == 1:
                trainer.datamodule.batches.frames.targets["forces"][0] = math.inf

    with pytest.raises(
        NotConvergedError, match=r"loss of forces is not a finite number in epoch 1, batch \d"
    ):
        fit_frames(config, frames, splits, tmp_path / "run", callbacks=[Poison()])
    assert all(torch.isfinite(value).all() for value in weights_of(tmp_path / "run").values())
    assert read_state(tmp_path / "run" / "last.ckpt")["position"]["epoch"] == 1


def test_gradient_that_is_not_finite_stops(tmp_path, toy_frames, toy_config, toy_splits):
    class Poison(Callback):
        def on_after_backward(self, trainer, pl_module):
            next(pl_module.model.backbone.parameters()).grad.fill_(math.nan)

    with pytest.raises(
        NotConvergedError, match="the gradient is not a finite number in epoch 0, batch 0"
    ):
        fit_frames(
            toy_config(),
            toy_frames(12),
            toy_splits(8, 4, 0),
            tmp_path / "run",
            callbacks=[Poison()],
        )


def test_time_budget_ends_the_run_within_an_epoch(tmp_path, toy_frames, toy_config, toy_splits):
    """By a clock that counts steps: what a step takes on this machine plays no part."""

    class StepsAsSeconds(Callback):
        def on_fit_start(self, trainer, pl_module):
            pl_module.clock = Clock(lambda: 0.125 * pl_module.position.step)

    config = toy_config(training={"epochs": 1000, "max_minutes": 15 * 0.125 / 60})
    run = fit_frames(
        config,
        toy_frames(30),
        toy_splits(24, 6, 0),
        tmp_path / "run",
        callbacks=[StepsAsSeconds()],
    )
    state = read_state(run / "last.ckpt")
    assert "time budget" in state["stop_reason"]
    # Six batches make an epoch: the third one ended in its middle, was validated, and is the last.
    assert (state["position"]["step"], state["position"]["epoch"]) == (15, 3)
    assert state["position"]["seconds"] == 15 * 0.125
    metrics = read_metrics(run / "metrics.csv")
    assert [line["step"] for line in metrics] == [6, 12, 15]
    assert metrics[-1]["learning_rate"] == pytest.approx(1e-4, rel=0.01)


def test_patience_ends_the_run(tmp_path, toy_frames, toy_config, toy_splits):
    config = toy_config(training={"epochs": 50, "patience": 2, "learning_rate": 1e-12})
    run = fit_frames(config, toy_frames(12), toy_splits(8, 4, 0), tmp_path / "run")
    assert "no better score for 2 epochs" in read_state(run / "last.ckpt")["stop_reason"]


def test_patience_begins_anew_with_the_second_stage(tmp_path, toy_frames, toy_config, toy_splits):
    """Two batches make an epoch; the sixth ends the first stage, in which nothing got better."""
    frames, splits = toy_frames(12), toy_splits(8, 4, 0)
    stage = {"start": 0.5, "weights": {"energy": 5.0}}
    config = toy_config(
        training={"epochs": 12, "patience": 2, "learning_rate": 1e-12, "second_stage": stage}
    )
    whole = fit_frames(config, frames, splits, tmp_path / "whole")
    state = read_state(whole / "last.ckpt")
    assert "no better score for 2 epochs" in state["stop_reason"]
    assert (state["position"]["epoch"], state["position"]["stage_step"]) == (8, 12)
    for step in (12, 13):
        cut = tmp_path / f"cut_{step}"
        with pytest.raises(RunInterruptedError):
            fit_frames(config, frames, splits, cut, callbacks=[KillAt(step, signal.SIGTERM)])
        assert_same_run(whole, fit_frames(config, frames, splits, cut, resume=True))


def test_several_kinds_of_targets_with_gaps_train_together_in_float64(
    tmp_path, toy_frames, toy_config, toy_splits
):
    frames = toy_frames(24)
    row = declare("has_carbon", unit="1", binary=True)
    labels = torch.tensor(
        [float((frames.subset(torch.tensor([k])).atomic_numbers == 6).any()) for k in range(24)],
        dtype=torch.float64,
    )
    properties = {**frames.properties, "has_carbon": row}
    frames = Frames(
        **{
            **vars(frames),
            "targets": {**frames.targets, "has_carbon": labels},
            "properties": properties,
        }
    )
    frames.targets["energy"][::2] = math.nan
    frames.targets["forces"][5:20] = math.nan
    frames.targets["dipole"][1::3] = math.nan
    frames.targets["has_carbon"][3] = math.nan
    config = toy_config(
        data={"targets": ["energy", "forces", "dipole", "has_carbon"]},
        properties={"has_carbon": {"unit": "1", "binary": True}},
        training={
            "epochs": 12,
            "optimizer": "adamw",
            "dtype": "float64",
            "schedule": "plateau",
            "huber": None,
        },
    )
    run = fit_frames(config, frames, toy_splits(16, 4, 4), tmp_path / "run")
    model = load_model(run / "model.safetensors")
    assert model.dtype == torch.float64
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["has_carbon"]["mae"] < 0.5 * result["has_carbon"]["baseline_mae"]
    assert result["energy"]["count"] == 2
    assert all(
        value is None or math.isfinite(value)
        for line in read_metrics(run / "metrics.csv")
        for value in line.values()
    )


def test_forces_alone_train_an_energy(tmp_path, toy_frames, toy_config, toy_splits):
    config = toy_config(data={"targets": ["forces"]}, training={"epochs": 15, "weights": {}})
    run = fit_frames(config, toy_frames(20), toy_splits(14, 3, 3), tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["forces"]["mae"] < 0.8 * result["forces"]["baseline_mae"]
    assert load_model(run / "model.safetensors").outputs == ("energy", "forces")


def test_tensorboard_when_asked_for(tmp_path, toy_frames, toy_config, toy_splits):
    pytest.importorskip("tensorboard")
    run = fit_frames(
        toy_config(training={"epochs": 1, "logger": "tensorboard"}),
        toy_frames(12),
        toy_splits(8, 4, 0),
        tmp_path / "run",
    )
    assert list((run / "tensorboard").glob("events*"))


def test_elements_that_training_never_sees_are_refused_at_once(
    tmp_path, toy_frames, toy_config, toy_splits
):
    frames = toy_frames(20)
    frames.atomic_numbers[-2] = 9
    with pytest.raises(
        UserError, match=r"the test part contains F \(structure 19\), the training part does not"
    ):
        fit_frames(toy_config(), frames, toy_splits(14, 3, 3), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_occupied_output_and_foreign_runs_are_refused(finished, tmp_path):
    run, config = finished
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        fit(config, run)
    with pytest.raises(UserError, match=r"training.learning_rate was 0.01 and is now 0.5"):
        fit(
            config.model_copy(
                update={"training": config.training.model_copy(update={"learning_rate": 0.5})}
            ),
            run,
            resume=True,
        )
    with pytest.raises(UserError, match="no run to resume"):
        fit(config, tmp_path / "nothing", resume=True)
    assert (run / "model.safetensors").read_bytes() == before


def test_targets_without_labels_are_refused_before_anything_is_written(finished, tmp_path):
    run, _ = finished
    with pytest.raises(UserError, match="polarizability"):
        train(
            run / "config.yaml",
            [
                "data.targets=[energy,polarizability]",
                "training.weights={}",
                "training.second_stage=null",
            ],
            tmp_path / "new",
        )
    assert not (tmp_path / "new").exists()
