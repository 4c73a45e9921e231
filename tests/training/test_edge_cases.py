"""Very small sets and batches without labels train like others.

Finite numbers, a complete run directory, no traceback.
"""

from __future__ import annotations

import json
import math

import pytest
import torch
from labelled import frames_of

from molequi.errors import UserError
from molequi.models.checkpoint import load_model
from molequi.properties import PROPERTIES, part_names
from molequi.training.fit import fit_frames
from molequi.training.labels import refuse_weightless
from molequi.training.metrics_file import read_metrics
from molequi.training.plan import plan_run

TARGETS = {"targets": ["energy", "forces", "dipole"]}


def finished(run):
    """Return the result of a run after making sure that everything in it is finite."""
    weights = load_model(run / "model.safetensors").state_dict()
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert all(math.isfinite(line["score"]) for line in read_metrics(run / "metrics.csv"))
    assert (run / "last.ckpt").is_file()
    return json.loads((run / "result.json").read_text(encoding="utf-8"))


def test_one_molecule(tmp_path, toy_frames, toy_config, toy_splits):
    run = fit_frames(
        toy_config(data=TARGETS),
        toy_frames(3, molecules=((6, 8, 1, 1),)),
        toy_splits(1, 1, 1),
        tmp_path / "run",
    )
    result = finished(run)
    assert result["energy"]["count"] == 1
    assert result["forces"]["count"] == 12


@pytest.mark.parametrize("settings", [{}, {"correlation": 3, "n_layers": 2}], ids=str)
def test_single_atoms_alone(tmp_path, toy_frames, toy_config, toy_splits, settings):
    """There is no neighbour to calibrate on, and forces and dipoles are zero for a good reason."""
    frames = toy_frames(8, molecules=((6,), (8,)))
    result = finished(
        fit_frames(
            toy_config(data=TARGETS, model=settings), frames, toy_splits(4, 2, 2), tmp_path / "run"
        )
    )
    assert result["forces"]["mae"] == result["dipole"]["mae"] == 0.0
    assert result["energy"]["mae"] is not None


def test_single_atoms_among_molecules_in_batches_of_their_own(
    tmp_path, toy_frames, toy_config, toy_splits
):
    frames = toy_frames(12, molecules=((6,), (6, 8, 1, 1), (8,), (1,)))
    run = fit_frames(
        toy_config(data=TARGETS, training={"batch_size": 1}),
        frames,
        toy_splits(8, 2, 2),
        tmp_path / "run",
    )
    finished(run)
    # Single neutral atoms are what atomization energies are counted from.
    assert set(load_model(run / "model.safetensors").metadata.isolated_atom_energies) == {
        "H",
        "C",
        "O",
    }


@pytest.mark.parametrize("batch_size", [1, 4])
def test_batches_without_any_label(
    tmp_path, toy_frames, toy_config, toy_splits, batch_size, caplog
):
    """Labels of two structures out of ten; most batches have none, nor has the test set."""
    frames = toy_frames(14)
    unlabelled = torch.ones(14, dtype=torch.bool)
    unlabelled[[0, 1, 10]] = False
    of_atom = torch.repeat_interleave(unlabelled, frames.n_atoms)
    for name, values in frames.targets.items():
        values[of_atom if name == "forces" else unlabelled] = math.nan
    result = finished(
        fit_frames(
            toy_config(data=TARGETS, training={"batch_size": batch_size}),
            frames,
            toy_splits(10, 2, 2),
            tmp_path / "run",
        )
    )
    assert {row["count"] for row in result.values()} == {0}
    assert result["energy"]["mae"] is None
    assert "none of the 2 test structures has a label" in caplog.text


def test_no_label_at_all_is_refused_by_name(tmp_path, toy_frames, toy_config, toy_splits):
    frames = toy_frames(6)
    frames.targets["forces"][:] = math.nan
    with pytest.raises(
        UserError, match="target 'forces' has no label in the 4 training structures"
    ):
        fit_frames(toy_config(), frames, toy_splits(4, 1, 1), tmp_path / "run")


@pytest.mark.parametrize(
    ("training", "where"),
    [
        ({"weights": {"energy": 0.0}}, "training.weights"),
        (
            {"weights": {}, "second_stage": {"start": 0.5, "weights": {"energy": 0.0}}},
            "training.second_stage.weights",
        ),
    ],
)
def test_labels_without_weight_to_validate_on_are_refused(
    tmp_path, toy_frames, toy_config, toy_splits, training, where
):
    """The score of every epoch was infinite, and a full training ended without a model."""
    frames, splits, config = toy_frames(8), toy_splits(6, 2, 0), toy_config(training=training)
    message = rf"2 validation structures have labels of energy alone, .* is 0 in {where}, so"
    frames.targets["forces"][frames.offsets[6] :] = math.nan
    with pytest.raises(UserError, match=message):
        fit_frames(config, frames, splits, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match=message):
        plan_run(config, frames, splits)


def test_parts_without_weight_are_refused_one_with_a_weight_is_not(toy_config):
    row = PROPERTIES["polarizability"]
    values = torch.eye(3, dtype=torch.float64).expand(2, 3, 3).clone()
    valid = frames_of([[1, 1]] * 2, {row.name: values}, {row.name: row})
    settings = toy_config().training
    parts = {name: 0.0 for name in part_names(row)}
    for weights in ({"polarizability": 0.0}, parts):
        with pytest.raises(UserError, match=r"labels of polarizability\[0e\], .*\[2e\] alone"):
            refuse_weightless(valid, settings.model_copy(update={"weights": weights}))
    refuse_weightless(valid, settings.model_copy(update={"weights": {"polarizability[0e]": 0.0}}))
