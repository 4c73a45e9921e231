"""Runs that start from a trained model."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from molequi.errors import UserError
from molequi.models.checkpoint import load_model, save_model
from molequi.models.molecular import MolecularModel
from molequi.nn.backbones.mace import MaceBackbone
from molequi.nn.heads.layered import LayeredEnergyHead
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES
from molequi.training.evaluation import evaluate_frames
from molequi.training.fit import fit_frames
from molequi.training.predictions import predict_frames
from molequi.training.reference_energies import composition
from molequi.training.setup import start_model


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, toy_frames, toy_config, toy_splits):
    """A run on plenty of frames: the level of theory that is cheap."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = toy_config(
        data={"targets": ["energy", "forces", "dipole"]},
        training={"epochs": 12, "batch_size": 8},
        model={"n_channels": 8},
    )
    return fit_frames(config, toy_frames(200, seed=3), toy_splits(180, 10, 10), folder / "run")


def other_level(frames):
    """The same molecules at another level: shifted atoms, forces and interaction 5 % larger."""
    energy = frames.targets["energy"].clone()
    counts, elements = composition(frames)
    atoms = {1: -13.0, 6: -1030.0, 8: -2040.0}
    base = counts @ torch.tensor([atoms[int(z)] for z in elements], dtype=torch.float64)
    shift = counts @ torch.tensor(
        [{1: -0.3, 6: -2.0, 8: 1.5}[int(z)] for z in elements], dtype=torch.float64
    )
    targets = {
        "energy": 1.05 * (energy - base) + base + shift,
        "forces": 1.05 * frames.targets["forces"],
    }
    return type(frames)(
        **{
            **vars(frames),
            "targets": targets,
            "properties": {name: PROPERTIES[name] for name in targets},
        }
    )


def test_fine_tuning_beats_training_from_scratch_on_50_frames(
    tmp_path, pretrained, toy_frames, toy_config, toy_splits
):
    frames, splits = other_level(toy_frames(80, seed=9)), toy_splits(50, 10, 20)
    test = frames.subset(splits["test"])
    errors = {}
    scratch = toy_config(training={"epochs": 4, "learning_rate": 5e-3}, model={"n_channels": 8})
    for name, config in (("scratch", scratch), ("tuned", tuned(toy_config, pretrained))):
        model = load_model(
            fit_frames(config, frames, splits, tmp_path / name) / "model.safetensors"
        )
        errors[name] = evaluate_frames(model, test).result
    assert errors["tuned"]["forces"]["mae"] < 0.7 * errors["scratch"]["forces"]["mae"]
    assert errors["tuned"]["energy"]["mae"] < 0.7 * errors["scratch"]["energy"]["mae"]


def tuned(toy_config, init, **extra):
    config = toy_config(
        training={"epochs": 4, "learning_rate": 5e-3, **extra.pop("training", {})},
        init=str(init),
        **extra,
    )
    return config.model_copy(update={"model": type(config.model)()})


def test_reference_energies_are_refitted_before_the_first_step(pretrained, toy_frames, toy_config):
    frames = other_level(toy_frames(30, seed=5))
    before = load_model(pretrained / "model.safetensors")
    start = start_model(tuned(toy_config, pretrained), frames)
    error = predict_frames(start.model, frames, ["energy"])["energy"] - frames.targets["energy"]
    naive = predict_frames(before, frames, ["energy"])["energy"] - frames.targets["energy"]
    assert float(naive.abs().mean()) > 1.0
    assert float(error.abs().mean()) < 0.15
    assert start.model.outputs == ("energy", "forces")
    old = before.state_dict()
    assert all(
        torch.equal(value, old[name])
        for name, value in start.model.state_dict().items()
        if name.startswith("backbone")
    )


def test_frozen_backbone_stays_as_it_was(tmp_path, pretrained, toy_frames, toy_config, toy_splits):
    config = tuned(toy_config, pretrained, freeze="backbone", training={"epochs": 1})
    run = fit_frames(
        config, other_level(toy_frames(24, seed=9)), toy_splits(16, 8, 0), tmp_path / "run"
    )
    old, new = (load_model(path / "model.safetensors").state_dict() for path in (pretrained, run))
    assert all(torch.equal(old[name], new[name]) for name in old if name.startswith("backbone"))
    assert not all(
        torch.equal(old[name], new[name]) for name in new if name.startswith("heads.energy.readout")
    )


def test_outputs_are_added_to_a_model_that_stays_as_it_was(
    tmp_path, pretrained, toy_frames, toy_config, toy_splits
):
    """A spread first, then another property, which leaves the calibration of the first alone."""
    frames = toy_frames(60, seed=9)
    spread = frames.with_unlabelled([PROPERTIES["forces_std"]])
    gap = dataclasses.replace(
        spread,
        targets={**spread.targets, "gap": torch.linspace(4.0, 8.0, 60, dtype=torch.float64)},
        properties={**spread.properties, "gap": PROPERTIES["gap"]},
    )
    names = ["energy", "forces", "dipole", "forces_std"]
    runs = [pretrained]
    for data, targets in ((spread, names), (gap, [*names, "gap"])):
        config = tuned(
            toy_config,
            runs[-1],
            freeze="model",
            data={"targets": targets},
            training={"epochs": 2, "weights": {}},
        )
        runs.append(fit_frames(config, data, toy_splits(40, 20, 0), tmp_path / targets[-1]))
        old, new = (load_model(run / "model.safetensors").state_dict() for run in runs[-2:])
        assert all(torch.equal(value, new[name]) for name, value in old.items())
        assert {name.split(".")[1] for name in set(new) - set(old)} == {targets[-1]}
    assert load_model(runs[-1] / "model.safetensors").heads["forces_std"].is_calibrated
    with pytest.raises(UserError, match="freeze=model: .* nothing is left to learn"):
        start_model(tuned(toy_config, runs[0], freeze="model"), frames)


def test_new_targets_join_a_trained_backbone(pretrained, toy_frames, toy_config):
    frames = toy_frames(12)
    gap = torch.linspace(4.0, 8.0, 12, dtype=torch.float64)
    gap[2] = math.nan
    frames = type(frames)(
        **{**vars(frames), "targets": {"gap": gap}, "properties": {"gap": PROPERTIES["gap"]}}
    )
    start = start_model(
        tuned(toy_config, pretrained, data={"targets": ["gap"]}, training={"weights": {}}), frames
    )
    assert float(start.model.heads["gap"].shift) == pytest.approx(float(gap.nanmean()))
    assert all(parameter.requires_grad for parameter in start.model.parameters())


def test_an_imported_model_keeps_its_readouts(tmp_path, toy_frames, toy_config, caplog):
    """Before the first step its energies are the source's, up to the refitted references."""
    torch.manual_seed(0)
    backbone = MaceBackbone(
        [1, 6, 8], 4.0, n_channels=4, l_max=1, correlation=2, irreps_out=Irreps("0e")
    )
    row = dataclasses.replace(PROPERTIES["energy"], head="layered_energy")
    source = MolecularModel(backbone, [row]).double().eval()
    source.heads["energy"].repulsion.power.fill_(6)
    save_model(source, tmp_path / "mace.safetensors")
    frames = toy_frames(6)
    config = tuned(toy_config, tmp_path / "mace.safetensors", training={"dtype": "float64"})
    model = start_model(config, frames).model
    assert isinstance(model.heads["energy"], LayeredEnergyHead)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    old, new = (predict_frames(m.eval(), frames, ["energy", "forces"]) for m in (source, model))
    counts, elements = composition(frames)
    moved = (model.heads["energy"].reference - source.heads["energy"].reference)[elements]
    assert float(moved.abs().min()) > 1.0
    assert float((new["energy"] - old["energy"] - counts @ moved).abs().max()) < 1e-8
    assert float((new["forces"] - old["forces"]).abs().max()) < 1e-10
    assert all(weight.requires_grad for weight in model.parameters())


def test_unfit_starting_models_are_refused(tmp_path, pretrained, toy_frames, toy_config):
    nitrogen = toy_frames(4)
    nitrogen.atomic_numbers[nitrogen.atomic_numbers == 8] = 7
    with pytest.raises(UserError, match="does not know N.*it knows H C O"):
        start_model(tuned(toy_config, pretrained), nitrogen)
    config = toy_config(init=str(pretrained))
    with pytest.raises(UserError, match="n_channels=8, the config has model.n_channels=4"):
        start_model(config, toy_frames(4))
    with pytest.raises(UserError, match="no model 'nonsense'"):
        start_model(tuned(toy_config, "nonsense"), toy_frames(4))
    path = tmp_path / "model.safetensors"
    save_model(load_model(pretrained / "model.safetensors"), path)
    assert start_model(tuned(toy_config, path), toy_frames(4)).model.elements == (1, 6, 8)
