"""Runs that start from a trained model."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
import torch
from ase.data import atomic_numbers

from molequi.datasets.making import make_frames
from molequi.errors import UserError
from molequi.experiments import prepare
from molequi.models.checkpoint import load_model, save_model
from molequi.models.molecular import MolecularModel
from molequi.nn.backbones.mace import MaceBackbone
from molequi.nn.heads.layered import LayeredEnergyHead
from molequi.o3.irreps import Irreps
from molequi.properties import PROPERTIES
from molequi.training import refitted_references
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


def test_reference_energies_are_refitted_before_the_first_step(
    pretrained, toy_frames, toy_config, caplog
):
    caplog.set_level("INFO", logger="molequi")
    frames = other_level(toy_frames(30, seed=5))
    before = load_model(pretrained / "model.safetensors")
    start = start_model(tuned(toy_config, pretrained), frames)
    (said,) = re.findall(r"reference energies \(eV\) (.*)", caplog.text)
    for symbol, energy in (entry.split() for entry in said.split(", ")):
        number = atomic_numbers[symbol]
        assert float(start.model.heads["energy"].reference[number]) == pytest.approx(
            float(energy), abs=6e-5
        )
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


def test_references_of_many_structures_are_fitted_to_a_part(
    pretrained, toy_frames, toy_config, monkeypatch
):
    """Labelled ones, with a few of each element; all of them where a part tells fewer apart."""
    monkeypatch.setattr(refitted_references, "_ENOUGH", 40)
    monkeypatch.setattr(refitted_references, "_ENOUGH_OF_ELEMENT", 2)
    asked = []

    def counting(model, some, names):
        asked.append(some)
        return predict_frames(model, some, names)

    monkeypatch.setattr(refitted_references, "predict_frames", counting)
    data = other_level(toy_frames(120, seed=5))
    data.targets["energy"][:50] = math.nan
    # Nitrogen in one structure of the last ones.
    data.atomic_numbers[-1] = 7
    data.targets["energy"][-1] -= 1400.0
    start = start_model(tuned(toy_config, pretrained), data)
    assert 40 <= len(asked[0]) <= 46
    assert not asked[0].targets["energy"].isnan().any()
    assert asked[0].elements() == data.elements()
    known = data.subset(torch.arange(50, 119))
    error = predict_frames(start.model, known, ["energy"])["energy"] - known.targets["energy"]
    assert float(error.abs().mean()) < 0.15
    # Carbon and hydrogen one to one, but for a structure that tells them apart.
    chosen = refitted_references._enough(one_to_one(100), torch.zeros(100))
    assert len(chosen) == 40
    odd = min(set(range(100)) - set(chosen.tolist()))
    found = refitted_references._enough(one_to_one(100, but=odd), torch.zeros(100))
    assert found.tolist() == list(range(100))


def one_to_one(n, but=None):
    """Structures of two C and two H each; one of three C."""
    numbers = torch.tensor([6, 1, 1, 6]).repeat(n, 1)
    if but is not None:
        numbers[but, 1] = 6
    return make_frames(torch.randn(4 * n, 3), numbers.flatten(), torch.full((n,), 4))


def with_nitrogen(frames, shift=-1400.0):
    """The same structures with N in the place of O, and another energy for each such atom."""
    changed = dataclasses.replace(frames, atomic_numbers=frames.atomic_numbers.clone())
    changed.atomic_numbers[frames.atomic_numbers == 8] = 7
    counts, elements = composition(changed)
    n_nitrogen = counts[:, elements == 7].sum(dim=1)
    energy = frames.targets["energy"] + shift * n_nitrogen
    return dataclasses.replace(changed, targets={**frames.targets, "energy": energy})


def test_new_elements_leave_what_is_known_as_it_was(pretrained, toy_frames, toy_config, caplog):
    """Before the first step: the energies of old molecules too, where no data speak of them."""
    known, data = toy_frames(6, seed=2), with_nitrogen(toy_frames(20, seed=5))
    data = data.subset(torch.tensor([7 in data.subset(torch.tensor([i])).elements()
                                     for i in range(20)]))  # fmt: skip
    before = load_model(pretrained / "model.safetensors")
    start = start_model(tuned(toy_config, pretrained), data)
    assert start.model.elements == (1, 6, 7, 8)
    old, new = (
        predict_frames(model.eval(), known, ["energy", "forces"]) for model in (before, start.model)
    )
    assert float((new["energy"] - old["energy"]).abs().max()) < 1e-5
    assert float((new["forces"] - old["forces"]).abs().max()) < 1e-5
    assert "does not know N: new elements begin N as C" in caplog.text
    # Its reference takes the mean of the rest, so that training begins near the labels.
    error = predict_frames(start.model, data, ["energy"])["energy"] - data.targets["energy"]
    assert abs(float(error.mean())) < 0.5
    assert start.model.heads["energy"].reference[7] < -1000.0


def test_references_of_another_level_all_move(pretrained, toy_frames, toy_config):
    data = with_nitrogen(other_level(toy_frames(30, seed=5)))
    start = start_model(tuned(toy_config, pretrained), data)
    error = predict_frames(start.model, data, ["energy"])["energy"] - data.targets["energy"]
    assert float((error / data.n_atoms).abs().mean()) < 0.1
    before = load_model(pretrained / "model.safetensors").heads["energy"].reference
    moved = (start.model.heads["energy"].reference - before)[[1, 6]]
    assert torch.allclose(moved, torch.tensor([-0.3, -2.0], dtype=torch.float64), atol=0.3)


def test_new_elements_are_learned(tmp_path, pretrained, toy_frames, toy_config, toy_splits):
    frames, splits = with_nitrogen(toy_frames(60, seed=9)), toy_splits(40, 10, 10)
    config, test = tuned(toy_config, pretrained), frames.subset(splits["test"])
    untrained = start_model(config, frames.subset(splits["train"])).model.eval()
    run = fit_frames(config, frames, splits, tmp_path / "run")
    trained = load_model(run / "model.safetensors")
    errors = [
        evaluate_frames(model, test).result["forces"]["mae"] for model in (untrained, trained)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_elements_that_are_left_out_keep_their_reference(pretrained, toy_frames, toy_config):
    frames = toy_frames(10)
    frames.atomic_numbers[frames.atomic_numbers == 8] = 6
    start = start_model(tuned(toy_config, pretrained), frames)
    before = load_model(pretrained / "model.safetensors").heads["energy"].reference[8]
    assert float(start.model.heads["energy"].reference[8]) == float(before) != 0.0


def test_an_imported_model_keeps_its_dipoles(tmp_path, toy_frames, toy_config):
    torch.manual_seed(0)
    backbone = MaceBackbone(
        [1, 6, 8], 4.0, n_channels=4, l_max=1, correlation=2, irreps_out=Irreps("0e+1o")
    )
    gives = ("dipole_magnitude",)
    row = dataclasses.replace(PROPERTIES["dipole"], head="layered_dipole", gives=gives)
    source = MolecularModel(backbone, [row]).double().eval()
    source.heads["dipole"].scale.fill_(0.3)
    save_model(source, tmp_path / "mace.safetensors")
    frames, dipoles = toy_frames(6), torch.randn(6, 3, dtype=torch.float64)
    rows = {"dipole": PROPERTIES["dipole"]}
    frames = type(frames)(**{**vars(frames), "targets": {"dipole": dipoles}, "properties": rows})
    settings = {"data": {"targets": ["dipole"]}, "training": {"weights": {}, "dtype": "float64"}}
    model = start_model(tuned(toy_config, tmp_path / "mace.safetensors", **settings), frames).model
    assert set(model.properties) == {"dipole", "dipole_magnitude"}
    old, new = (predict_frames(m.eval(), frames, ["dipole"])["dipole"] for m in (source, model))
    assert float(old.abs().max()) > 1e-3
    assert float((new - old).abs().max()) < 1e-12


def test_unfit_starting_models_are_refused(tmp_path, pretrained, toy_frames, toy_config):
    with pytest.raises(UserError, match="does not know N.*freeze=backbone.*it knows H C O"):
        frozen = tuned(toy_config, pretrained, freeze="backbone")
        start_model(frozen, with_nitrogen(toy_frames(4)))
    config = toy_config(init=str(pretrained))
    with pytest.raises(UserError, match="n_channels=8, the config has model.n_channels=4"):
        start_model(config, toy_frames(4))
    with pytest.raises(UserError, match="no model 'nonsense'"):
        start_model(tuned(toy_config, "nonsense"), toy_frames(4))
    path = tmp_path / "model.safetensors"
    save_model(load_model(pretrained / "model.safetensors"), path)
    assert start_model(tuned(toy_config, path), toy_frames(4)).model.elements == (1, 6, 8)


def test_another_network_is_refused_before_the_data_are_read(tmp_path, pretrained):
    (tmp_path / "F.csv").write_text("smiles,logP\nno molecule,1\n", encoding="utf-8")
    settings = [f"data.path={tmp_path}/F.csv", "data.targets=logP", f"init={pretrained}"]
    with pytest.raises(UserError, match="n_channels=8, the config has model.n_channels=4"):
        prepare("property", [*settings, "model={n_channels: 4}"], tmp_path / "run")
    with pytest.raises(UserError, match="no model 'nonsense'"):
        prepare("property", [*settings[:2], "init=nonsense"], tmp_path / "run")


def test_a_larger_network_begins_with_what_the_smaller_one_gave(pretrained, toy_frames, toy_config):
    frames = toy_frames(4)
    sizes = {"n_channels": 8, "n_hidden": 40, "n_readout": 36}
    model = start_model(toy_config(init=str(pretrained), model=sizes), frames).model
    assert model.backbone.settings["n_hidden"] == 40
    old = predict_frames(load_model(pretrained / "model.safetensors"), frames, ["forces"])
    new = predict_frames(model.eval(), frames, ["forces"])
    assert torch.allclose(old["forces"], new["forces"], atol=1e-5)
    # A frozen backbone would keep new weights as they begin.
    with pytest.raises(UserError, match="has n_hidden=32, the config has model.n_hidden=40"):
        start_model(toy_config(init=str(pretrained), model=sizes, freeze="backbone"), frames)


def test_frozen_elements_are_refused_before_geometries_are_made(
    tmp_path, pretrained, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("molequi.datasets.formats.tables.atoms_from_smiles", None)
    (tmp_path / "F.csv").write_text("smiles,logP\nC[C(,1\nCO,1\nCCl,1\n", encoding="utf-8")
    settings = [f"data.path={tmp_path}/F.csv", "data.targets=logP", f"init={pretrained}"]
    settings += ["freeze=backbone", "model={}"]
    with pytest.raises(UserError, match="does not know Cl, .* freeze=backbone .* knows H C O: le"):
        prepare("property", settings, tmp_path / "run")
