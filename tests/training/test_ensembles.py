"""Training an ensemble: members apart, one model at the end, calibrated, and nothing lost."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from molequi.cli.results import print_judgement
from molequi.datasets.npz import save_npz
from molequi.errors import RunInterruptedError, UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit, prepare
from molequi.models.checkpoint import load_model, save_model
from molequi.models.ensemble import Ensemble, member
from molequi.models.making import make_model
from molequi.prediction.predict import predict
from molequi.training.config import make_config
from molequi.training.ensembles import joined
from molequi.training.judged import misjudged_lines
from molequi.training.metrics_file import read_metrics
from molequi.training.repeats import member_runs


class KilledIn(Callback):
    """Ends the process, as far as the run can tell, in one epoch of the n-th training."""

    def __init__(self, training: int, epoch: int) -> None:
        self.training, self.epoch, self.begun = training, epoch, 0

    def on_train_start(self, trainer, pl_module):
        self.begun += 1

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.begun == self.training and trainer.current_epoch == self.epoch:
            raise RunInterruptedError("killed", 15)


@pytest.fixture(scope="module")
def config(tmp_path_factory, toy_frames, toy_config, toy_splits):
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    save_npz(toy_frames(160), path, splits=toy_splits(80, 60, 20))
    return toy_config(
        ensemble=2,
        data={"path": str(path), "split": {"kind": "stored"}},
        training={"epochs": 2, "seed": 5},
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return fit(config, tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture(scope="module", autouse=True)
def figures(run, undrawn):
    """Draw the figures of the run that the tests share, and no others."""


def test_members_differ_in_the_seed_alone(config):
    runs = member_runs(config)
    assert list(runs) == ["member_1", "member_2"]
    assert [one.training.seed for one in runs.values()] == [5, 6]
    assert {one.ensemble for one in runs.values()} == {None}
    assert len({one.data.model_dump_json() for one in runs.values()}) == 1
    assert make_config(config.model_dump(mode="json")) == config


def test_one_file_holds_what_the_members_became(run):
    whole = load_model(run / "model.safetensors")
    assert isinstance(whole, Ensemble)
    for number in range(2):
        own = load_model(run / f"member_{number + 1}" / "model.safetensors")
        for name, weight in own.state_dict().items():
            assert torch.equal(weight, member(whole, number).state_dict()[name]), name
    splits = [json.loads((run / f"member_{k}" / "split.json").read_text()) for k in (1, 2)]
    assert splits == [json.loads((run / "split.json").read_text())] * 2


def test_run_ends_as_that_of_one_model(run):
    result = json.loads((run / "result.json").read_text())
    maes = [
        json.loads((run / f"member_{k}" / "result.json").read_text())["forces"]["mae"]
        for k in (1, 2)
    ]
    assert result["forces"]["mae"] < np.mean(maes)
    for name in ("forces_std", "energy_std"):
        assert result[name]["rank_correlation"] is not None
        assert (run / "plots" / f"reliability_{name}.png").stat().st_size > 5000
    found = evaluate(run, split="test")
    assert found["forces_std"]["coverage"] == pytest.approx(result["forces_std"]["coverage"])
    assert "2 members are one model now" in (run / "log.txt").read_text()
    page = (run / "report.html").read_text()
    assert "How well it knows its errors" in page
    assert "Calibration of the doubt" in page


def test_calibration_saw_the_validation_structures_alone(run):
    """So its record says."""
    record = load_model(run / "model.safetensors").metadata.training.calibration
    assert set(record) == {"forces_std", "energy_std"}
    row = record["energy_std"]
    assert (row["part"], row["structures"], row["count"]) == ("valid", 60, 60)
    assert row["radii"]["68"] == pytest.approx(1.0)
    assert row["radii"]["50"] < 1.0 < row["radii"]["90"] <= row["radii"]["95"]
    assert record["forces_std"]["count"] > 60


def test_table_of_the_run_has_a_line_for_each_radius(run):
    with (run / "calibration.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    result = json.loads((run / "result.json").read_text())
    assert len(rows) == 8
    for row in rows:
        expected = result[row["spread"]]
        share = f"{100 * float(row['meant']):.0f}"
        assert float(row["held"]) == pytest.approx(expected["coverage"][share])
        assert float(row["rank_correlation"]) == pytest.approx(expected["rank_correlation"])
        assert (row["unit"], int(row["errors"])) == (expected["unit"], expected["count"])
    assert (run / "plots" / "calibration.png").stat().st_size > 5000


def test_miscalibrated_spread_is_caught(run, toy_frames, capsys):
    """A planted fault: a model that is four times too sure of its forces."""
    whole = load_model(run / "model.safetensors")
    tested = toy_frames(160).subset(torch.arange(140, 160))
    assert misjudged_lines(evaluate(whole, tested)) == []
    whole.heads["forces_std"].factor.mul_(0.25)
    result = evaluate(whole, tested)
    (line,) = misjudged_lines(result)
    assert line.startswith("forces_std: the radius of 50 % holds")
    assert result["forces_std"]["coverage"]["90"] < 0.6
    print_judgement(result)
    assert "WRONG ABOUT ITS ERRORS: forces_std" in capsys.readouterr().out


def test_predictions_carry_both_spreads(run):
    (record,) = predict(smiles="CO", model=run)
    assert np.shape(record["forces_std"]) == (6,)
    assert record["max_forces_std"] == pytest.approx(np.max(record["forces_std"]))
    assert record["energy_std"] > 0.0


@pytest.mark.parametrize("training", [2])
def test_killed_run_goes_on_and_ends_in_the_same_weights(config, run, tmp_path, training):
    output = tmp_path / "killed"
    with pytest.raises(RunInterruptedError):
        fit(config, output, callbacks=[KilledIn(training, epoch=1)])
    assert not (output / "result.json").is_file()
    with pytest.raises(UserError, match="is not empty; --resume goes on"):
        fit(config, output)
    seen = KilledIn(99, 0)
    fit(config, output, resume=True, callbacks=[seen])
    assert seen.begun == 3 - training, "what had ended is not trained again"
    one, two = (load_model(folder / "model.safetensors").state_dict() for folder in (run, output))
    for name, weight in one.items():
        assert torch.equal(weight, two[name]), name


@pytest.fixture
def small(tmp_path, toy_frames, toy_config, toy_splits):
    """A config of an ensemble whose members take no time, by its settings of training."""
    path = tmp_path / "small.npz"
    save_npz(toy_frames(12), path, splits=toy_splits(6, 6, 0))
    data = {"path": str(path), "targets": ["energy"], "split": {"kind": "stored"}}
    own = {"epochs": 1, "weights": {}}
    return lambda **training: toy_config(ensemble=2, data=data, training={**own, **training})


def epochs_of(run) -> list[int]:
    """Return the epochs of each member."""
    return [len(read_metrics(run / f"member_{k}" / "metrics.csv")) for k in (1, 2)]


def test_members_go_on_where_more_is_asked_for_or_other_data_come(small, tmp_path, toy_frames):
    run = fit(small(), tmp_path / "run")
    fit(small(epochs=2), run, resume=True)
    assert epochs_of(run) == [2, 2]
    path = tmp_path / "small.npz"
    stored = json.loads((run / "split.json").read_text()).items()
    splits = {name: torch.tensor(rows, dtype=torch.int64) for name, rows in stored}
    save_npz(toy_frames(12, seed=1), path, splits=splits)
    with pytest.raises(UserError, match="are not those that the run began with"):
        fit(small(epochs=2), run, resume=True)


def test_an_interrupted_overwrite_takes_no_member_of_before(small, tmp_path):
    run = fit(small(), tmp_path / "run")
    with pytest.raises(RunInterruptedError):
        fit(small(learning_rate=0.02), run, overwrite=True, callbacks=[KilledIn(1, epoch=0)])
    seen = KilledIn(99, 0)
    fit(small(learning_rate=0.02), run, resume=True, callbacks=[seen])
    assert seen.begun == 2


def test_member_of_another_element_set_is_refused(run, tmp_path):
    """One that somebody has put into the run's folder."""
    own = load_model(run / "member_1" / "model.safetensors")
    other = make_model([1, 6, 7], list(own.outputs), n_channels=4, l_max=1, n_layers=1, cutoff=4.0)
    save_model(other, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="member 2 has the elements H C N, the first has H C O"):
        joined([own, load_model(tmp_path / "other.safetensors")], "both")


def test_plan_names_the_members(config, tmp_path):
    plan = prepare_plan(config, tmp_path)
    assert plan["runs"] == ["member_1", "member_2"]
    assert plan["structures"] == {"train": 80, "valid": 60, "test": 20}


def prepare_plan(config, tmp_path):
    import yaml

    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return prepare(path, output=tmp_path / "out").plan()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"targets": ["energy", "forces", "forces_std"]}}, "takes forces_std from how"),
        ({"training": {"repeats": 2}}, "training.repeats are several models; leave one"),
        ({"ensemble": 1}, "greater than or equal to 2"),
    ],
)
def test_what_does_not_go_with_members_is_refused(toy_config, sections, message):
    with pytest.raises(UserError, match=message):
        toy_config(**{"ensemble": 2, **sections})
