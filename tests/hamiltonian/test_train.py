"""Training of dynamics: it learns, resumes bit for bit, refuses what is wrong.

Figures; a molecule by the same code.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import yaml

import molequi
from molequi.errors import NotConvergedError, RunInterruptedError, UserError
from molequi.evaluation import evaluate
from molequi.experiments import fit, train
from molequi.groups.lie_groups import GROUPS
from molequi.hamiltonian.config import (
    DynamicsConfig,
    is_dynamics,
    load_dynamics_config,
    make_dynamics_config,
)
from molequi.hamiltonian.data import make_data
from molequi.hamiltonian.evaluation import follow, measure, measure_split, segment_error
from molequi.hamiltonian.loop import DynamicsRun
from molequi.hamiltonian.molecule import cut, describe_molecule, make_teacher, run_teacher
from molequi.hamiltonian.saved import load_dynamics
from molequi.hamiltonian.setup import build
from molequi.hamiltonian.springs import Springs
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.plots import errors_against_data

SMALL = {
    "name": "small",
    "data": {
        "kind": "springs",
        "n_particles": 3,
        "train": 40,
        "valid": 10,
        "test": 10,
        "rollouts": 3,
        "n_steps": 120,
        "duration": 1.2,
    },
    "model": {"kind": "invariant", "width": 8, "n_layers": 1},
    "training": {"epochs": 3, "batch_size": 20, "device": "cpu"},
}


def small(**training: object) -> DynamicsConfig:
    return make_dynamics_config({**SMALL, "training": {**SMALL["training"], **training}})


def test_spring_config_has_the_published_settings():
    data = load_dynamics_config("spring").data
    assert (data.n_particles, data.duration, data.n_steps, data.train, data.valid, data.test) == (
        6,
        5.0,
        500,
        3000,
        2000,
        2000,
    )
    config = make_dynamics_config({**SMALL, "training": {"epochs": None, "device": "cpu"}})
    parts = make_data(config)
    assert DynamicsRun(config, parts, build(config, parts)).n_epochs == 500  # 100 sqrt(1000 / 40)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.trian=3", "did you mean 'data.train'"),
        ("data.train=-3", "data.train is -3"),
        ("model.kind=lieconv-t3", "known are fc, h-fc"),
        ("model.group=T(2)", "model.group is for lieconv and hlieconv of springs"),
        ("data.kind=molecule", "'data.path' is missing"),
        ("data.n_steps=50", "data.n_steps is 50"),
    ],
)
def test_wrong_settings_are_named(setting, message):
    with pytest.raises(UserError, match=message):
        load_dynamics_config("spring", [setting])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.group=SO(3)"], "of the plane there are trivial, T(1)y, T(2), SO(2), SE(2), R*"),
        (["model.lifts=frames"], "model.lifts is for SE(2)"),
        (["model.kind=lieconv", "model.group=SO(2)"], "does not turn or grow with it"),
    ],
)
def test_wrong_lifts_are_named(settings, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_dynamics_config("spring", ["model.kind=hlieconv", *settings])


@pytest.mark.parametrize("group", GROUPS[2])
def test_every_group_of_the_plane_is_named_in_the_config(group, tmp_path):
    settings = [f"model.group={group}", "model.lifts=frames"][: 1 + (group == "SE(2)")]
    config = load_dynamics_config(
        "spring", ["model.kind=hlieconv", "model.width=8", "model.n_layers=1", "data.train=2",
                   "data.valid=2", "data.test=2", "data.rollouts=1", "training.epochs=1", *settings]
    )  # fmt: skip
    assert config.model.lifting == (group, group == "SE(2)", False)
    assert build(config, make_data(config)).network.group.__class__ is GROUPS[2][group]().__class__


def test_molecular_configs_are_not_of_dynamics():
    assert not is_dynamics({"data": {"kind": "qm9"}})
    assert not is_dynamics({"data": None})
    with pytest.raises(UserError, match="not one of dynamics: springs, molecule"):
        load_dynamics_config("qm9")


def test_errors_are_measured_with_the_substeps_of_the_training():
    """With one step between distant times the true dynamics themselves have an error."""
    long = {**SMALL, "data": {**SMALL["data"], "n_steps": 120, "duration": 20.0}}
    config = make_dynamics_config({**long, "training": {**SMALL["training"], "substeps": 8}})
    data = make_data(config)
    for split in ("train", "valid", "test"):
        coarse, fine = (
            measure_split(data.truth, data, split, n_substeps=n)[f"{split}_mse"]["value"]
            for n in (1, config.training.substeps)
        )
        assert fine < 1e-3 * coarse
    result = measure(data.truth, data, n_substeps=config.training.substeps).result
    assert result["test_mse"]["value"] == pytest.approx(fine)


@pytest.mark.usefixtures("drawn")
def test_training_learns_and_the_run_directory_is_complete(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    folder = train(path, ["training.epochs=40", "training.learning_rate=0.01"], tmp_path / "run")
    names = {found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file()}
    assert names == {
        "config.yaml", "model.safetensors", "last.ckpt", "log.txt", "metrics.csv", "result.json",
        "report.html", "rollout.npz", "plots/learning_curve.png", "plots/rollout.png",
    }  # fmt: skip
    result = json.loads((folder / "result.json").read_text())
    model, config, data = load_dynamics(folder)
    assert measure(model, data)[0] == result
    file = folder / "model.safetensors"  # alone it says what it was trained on
    assert evaluate(folder) == evaluate(file, plots=tmp_path) == result
    assert (tmp_path / "rollout.png").is_file()
    assert evaluate(file, split="valid")["valid_mse"]["value"] < 1.0
    with pytest.raises(UserError, match="dynamics have train, valid and test"):
        evaluate(file, split="all")
    with pytest.raises(UserError, match="no model of molecules; `molequi check` takes it"):
        molequi.load(folder)
    with torch.random.fork_rng():
        untrained = build(config, data)
    assert result["test_mse"]["value"] < 0.5 * measure(untrained, data)[0]["test_mse"]["value"]
    assert result["linear_momentum_change"]["value"] < 1e-12
    assert result["angular_momentum_change"]["value"] < 1e-6


def test_resumed_run_equals_the_uninterrupted_one(tmp_path, monkeypatch):
    whole = fit(small(), tmp_path / "whole")

    class Impatient:
        number = 0

        def __enter__(self):
            return self

        def __exit__(self, *_error):
            return None

    original = DynamicsRun.epoch

    def epoch(self):
        Impatient.number = 2
        return original(self)

    monkeypatch.setattr("molequi.hamiltonian.train.SignalWatch", Impatient)
    monkeypatch.setattr(DynamicsRun, "epoch", epoch)
    with pytest.raises(RunInterruptedError, match="after epoch 1"):
        fit(small(), tmp_path / "parts")
    monkeypatch.undo()
    with pytest.raises(UserError, match="training.seed was 0 and is now 1"):
        fit(small(seed=1), tmp_path / "parts", resume=True)
    parts = fit(small(), tmp_path / "parts", resume=True)
    for name in ("model.safetensors", "metrics.csv", "result.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    with pytest.raises(UserError, match="--overwrite"):
        fit(small(), whole)
    fit(small(epochs=1), whole, overwrite=True)
    assert len((whole / "metrics.csv").read_text().splitlines()) == 2


def test_patience_ends_a_run_that_does_not_improve(tmp_path):
    folder = fit(small(epochs=50, patience=2, learning_rate=1e-30), tmp_path / "run")
    assert len((folder / "metrics.csv").read_text().splitlines()) - 1 == 3


def test_resume_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no run to resume"):
        fit(small(), tmp_path / "none", resume=True)
    with pytest.raises(UserError, match="no finished run"):
        load_dynamics(tmp_path)


def test_resume_without_a_state_is_refused(tmp_path):
    """A run that has ended would be trained again, from the beginning."""
    run = fit(small(epochs=1), tmp_path / "run")
    (run / "last.ckpt").unlink()
    before = (run / "metrics.csv").read_bytes()
    with pytest.raises(UserError, match=r"last\.ckpt is missing"):
        fit(small(epochs=1), run, resume=True)
    assert (run / "metrics.csv").read_bytes() == before


def test_processes_of_a_launcher_do_not_train_into_one_place(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UserError, match="trained in one process"):
        fit(small(epochs=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_occupied_and_foreign_outputs_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file; give the name of a folder"):
        fit(small(), tmp_path / "file")
    run = fit(small(), tmp_path / "run")
    torch.save({"format": 0}, run / "last.ckpt")
    with pytest.raises(
        UserError,
        match="last.ckpt has format 0; .* resumes format .*; start again with --overwrite",
    ):
        fit(small(), run, resume=True)


def test_wrong_data_leave_what_they_would_replace(tmp_path):
    run = fit(molecule(), tmp_path / "run")
    before = (run / "result.json").read_bytes()
    with pytest.raises(UserError, match="give at least 41"):
        fit(molecule(train=0.001), run, overwrite=True)
    assert (run / "result.json").read_bytes() == before


def test_callbacks_of_lightning_are_refused(tmp_path):
    with pytest.raises(UserError, match="callbacks are Lightning's"):
        fit(small(), tmp_path / "run", callbacks=[object()])


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "molequi.hamiltonian.loop.segment_error",
        lambda *_arguments, **_options: torch.tensor(float("nan"), requires_grad=True),
    )
    with pytest.raises(
        NotConvergedError, match="not finite in epoch 1; lower training.learning_rate"
    ):
        fit(small(), tmp_path / "run")


def test_true_dynamics_have_no_error_and_false_ones_do():
    data = make_data(small())
    assert float(segment_error(Springs(), data.test, data.scales)) < 1e-9
    rollout = follow(Springs(), data.truth, data.rollouts)
    assert float(rollout.state.max()) < 1e-8
    assert (
        max(float(curve.max()) for curve in (rollout.energy, rollout.linear, rollout.angular))
        < 1e-5
    )

    def frozen(state, _systems):
        return torch.zeros_like(state)

    rollout = follow(frozen, data.truth, data.rollouts)
    expected = (data.rollouts.states[:, -1] - data.rollouts.states[:, 0]).square().mean()
    assert float(rollout.state[-1]) == pytest.approx(float(expected))
    assert float(rollout.energy.max()) == float(rollout.linear.max()) == 0.0


def test_data_figure_draws_what_it_is_given(tmp_path):
    errors_against_data(
        {"fc": {10: [0.1, 0.2], 100: [0.05]}, "hogn": {10: [0.01]}}, tmp_path / "data.png"
    )
    errors_against_data({"fc": {10: [0.1]}}, tmp_path / "less.png")
    assert (tmp_path / "data.png").stat().st_size > (tmp_path / "less.png").stat().st_size > 1000


def molecule(**changes: object) -> DynamicsConfig:
    data = {
        "kind": "molecule",
        "path": "samples/ethanol.xyz",
        "train": 0.024,
        "test": 0.01,
        **changes,
    }
    return make_dynamics_config(
        {
            "name": "m",
            "data": data,
            "model": {"kind": "invariant", "width": 8, "n_layers": 1},
            "training": {"epochs": 2, "device": "cpu"},
        }
    )


def test_teacher_conserves_energy_and_its_forces_are_gradients():
    config = molecule()
    teacher = make_teacher(config.data)
    both = run_teacher(teacher, config.data)
    assert both.states.shape == (2, 49, 2, 9, 3)
    energies = [teacher.energy(both.states[:, k], both.systems) for k in (0, 24, 48)]
    assert max(float((energy - energies[0]).abs().max()) for energy in energies) < 1e-3
    assert float(both.states[:, :, 1].sum(2).abs().max()) < 1e-8
    q = both.states[:1, 0, 0]
    step = torch.randn(q.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    systems = describe_molecule(teacher.frames, 1)
    up, down = (teacher.potential(q + sign * 1e-4 * step, systems) for sign in (1.0, -1.0))
    assert float((up - down) / 2e-4) == pytest.approx(
        -float((teacher.forces(q) * step).sum()), rel=1e-5
    )
    pieces = cut(both)
    assert pieces.states.shape == (12, 5, 2, 9, 3)
    assert torch.equal(pieces.states[1, 0], pieces.states[0, 4])


def test_molecule_is_learned_by_the_same_code(tmp_path):
    result = json.loads((fit(molecule(), tmp_path / "run") / "result.json").read_text())
    assert {name: row["unit"] for name, row in result.items() if row["unit"] != "1"} == {
        "force_mae": "eV/Å",
        "force_baseline_mae": "eV/Å",
        "energy_error_mean": "eV",
        "energy_error_max": "eV",
        "teacher_energy_change": "eV",
        "own_energy_change": "eV",
        "linear_momentum_per_atom": "sqrt(amu eV)",
    }
    assert result["linear_momentum_per_atom"]["value"] < 1e-10
    assert (
        result["energy_error_max"]["value"]
        >= result["energy_error_mean"]["value"]
        > result["teacher_energy_change"]["value"]
    )
    assert np.load(tmp_path / "run" / "rollout.npz")["state"].shape == (21,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "samples/molecules.xyz"}, "give a file with one molecule"),
        ({"path": "samples/nothing.xyz"}, "no bundled file 'samples/nothing.xyz'"),
        ({"path": "nothing.xyz"}, "nothing.xyz does not exist"),
        ({"teacher": "organics"}, "organic"),
        ({"train": 0.001}, "give at least 41"),
        ({"test": 0.001}, r"data.test is 0.001 ps, 3 states of .* fs; give at least 5"),
    ],
)
def test_wrong_molecules_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_data(molecule(**changes))


def test_teachers_without_an_energy_and_crystals_are_refused(tmp_path):
    save_model(make_model((1, 6, 8), ["dipole"], n_channels=4), tmp_path / "dipole.safetensors")
    with pytest.raises(
        UserError, match=r"dipole.safetensors predicts dipole.*; give a model with an energy"
    ):
        make_data(molecule(teacher=str(tmp_path / "dipole.safetensors")))
    crystal = tmp_path / "crystal.xyz"
    crystal.write_text('2\nLattice="9 0 0 0 9 0 0 0 9" pbc="T T T"\nO 0 0 0\nH 0 0 1\n')
    with pytest.raises(UserError, match="crystal.xyz is periodic; give a molecule"):
        make_data(molecule(path=str(crystal)))
