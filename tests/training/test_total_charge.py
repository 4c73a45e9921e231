"""Training with equilibrated charges and closed-form terms: labels, statistics, whole runs."""

from __future__ import annotations

import dataclasses
import json
import os
import signal

import pytest
import torch
from pytorch_lightning import Callback

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.errors import RunInterruptedError, UserError
from molequi.models.checkpoint import load_model, save_model
from molequi.models.physics import Physics
from molequi.nn import response
from molequi.nn.physics import dispersion_parameters
from molequi.properties import PROPERTIES
from molequi.training.config import make_config
from molequi.training.fit import fit_frames
from molequi.training.fixed_terms import without_fixed_terms
from molequi.training.metrics_file import read_metrics
from molequi.training.setup import start_model
from molequi.training.total_charge import with_total_charge

EVERYTHING = {
    "charges": "equilibrated",
    "coulomb": "damped",
    "dispersion": "d3bj",
    "dispersion_functional": "pbe",
    "repulsion": "zbl",
}
ATOMS = {1: -13.0, 6: -1030.0, 8: -2040.0}


class StopAt(Callback):
    """Sends this process a signal after the given optimiser step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.position.step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def ions(toy_frames):
    frames = toy_frames(30)
    frames.total_charge[::3] = torch.tensor([1, -1] * 5)
    return frames


def with_terms(frames: Frames, model) -> Frames:
    """The frames with labels of reference energies and the model's fixed terms, nothing else."""
    terms = Physics(dispersion=dispersion_parameters("pbe"), repulsion="zbl").terms(model.cutoff)
    graph, _ = frames.batch(torch.arange(len(frames)), model.cutoff)
    atoms = torch.tensor([ATOMS[int(z)] for z in frames.atomic_numbers], dtype=torch.float64)

    def network(inputs):
        energies = terms(inputs, None) + atoms
        totals = energies.new_zeros(inputs.n_molecules).index_add(0, inputs.batch, energies)
        return {"energy": totals}

    values = response.with_forces(network, graph)
    labels = {name: values[name] for name in ("energy", "forces")}
    return dataclasses.replace(frames.with_targets(["energy", "forces"]), targets=labels)


def test_statistics_do_not_see_what_is_not_learned(toy_frames, toy_config) -> None:
    model = start_model(toy_config(model=EVERYTHING), toy_frames(12)).model
    frames = with_terms(toy_frames(12), model)
    assert float(frames.targets["forces"].abs().max()) > 1e-2
    learned = without_fixed_terms(frames, model)
    assert float(learned.targets["forces"].abs().max()) < 1e-12
    start = start_model(toy_config(model=EVERYTHING), frames)
    for number, energy in ATOMS.items():
        found = float(start.model.heads["energy"].reference[number])
        assert found == pytest.approx(energy, abs=1e-6)
    # A model without the terms sees them as something to learn, and other atoms.
    plain = start_model(toy_config(), frames).model.heads["energy"]
    assert max(abs(float(plain.reference[z]) - energy) for z, energy in ATOMS.items()) > 1e-3


def test_stress_lacks_the_terms_too(toy_config) -> None:
    positions = torch.tensor([[0.0, 0, 0], [1.1, 0.2, 0.1], [0.2, 1.3, 0.9]], dtype=torch.float64)
    frames = make_frames(
        positions,
        torch.tensor([6, 8, 1]),
        torch.tensor([3]),
        periodic=(4.2 * torch.eye(3)[None], torch.ones(1, 3, dtype=torch.bool)),
        targets={"energy": torch.zeros(1), "stress": torch.zeros(1, 3, 3)},
        properties={name: PROPERTIES[name] for name in ("energy", "stress")},
    )
    config = toy_config(model=EVERYTHING, data={"targets": ["energy"]}, training={"weights": {}})
    model = start_model(config, frames.with_targets(["energy"])).model
    graph = frames.graph(0, model.cutoff)
    terms = model.physics.fixed.terms(model.cutoff)
    expected = response.with_forces(
        lambda inputs: {"energy": terms(inputs, None).sum()[None]}, graph, stress=True
    )
    learned = without_fixed_terms(frames, model)
    torch.testing.assert_close(learned.targets["stress"], -expected["stress"])


def test_the_total_charge_is_a_target_of_equilibrated_charges_alone(ions, toy_config) -> None:
    config, frames = with_total_charge(toy_config(model=EVERYTHING), ions)
    assert config.data.targets == ("energy", "forces", "local_charge")
    assert torch.equal(frames.targets["local_charge"], ions.total_charge.to(torch.float64))
    assert config.training.weights["local_charge"] == 10.0  # as much as the forces
    assert with_total_charge(config, frames) == (config, frames)
    same, unchanged = with_total_charge(toy_config(), ions)
    assert same == toy_config()
    assert unchanged is ions


def test_its_weight_is_a_setting(toy_config, toy_frames) -> None:
    weights = {"forces": 10.0, "local_charge": 3.0}
    config = toy_config(model={"charges": "equilibrated"}, training={"weights": weights})
    frames = toy_frames(3)
    assert with_total_charge(config, frames)[0].training.weights == weights
    stage = {"start": 0.5, "weights": {"energy": 20.0, "forces": 10.0}}
    config = toy_config(
        model={"charges": "equilibrated"}, training={"weights": {}, "second_stage": stage}
    )
    both = with_total_charge(config, frames)[0].training
    assert both.weights["local_charge"] == 1.0
    assert both.second_stage.weights["local_charge"] == 20.0
    with pytest.raises(UserError, match="'local_charge' is not a target"):
        toy_config(training={"weights": weights})
    with pytest.raises(UserError, match=r"dispersion=d3bj needs model\.dispersion_functional"):
        toy_config(model={"dispersion": "d3bj"})


def run(config, frames, folder, toy_splits, **more):
    return fit_frames(config, frames, toy_splits(18, 6, 6), folder, **more)


def test_a_run_learns_charges_and_resumes_to_the_same(
    ions, toy_config, toy_splits, tmp_path
) -> None:
    config = toy_config(
        model=EVERYTHING, data={"targets": ["energy", "forces", "dipole"]}, training={"epochs": 3}
    )
    whole = run(config, ions, tmp_path / "whole", toy_splits)
    with pytest.raises(RunInterruptedError):
        run(config, ions, tmp_path / "parts", toy_splits, callbacks=[StopAt(7)])
    parts = run(config, ions, tmp_path / "parts", toy_splits, resume=True)
    models = [load_model(folder / "model.safetensors") for folder in (whole, parts)]
    for name, value in models[0].state_dict().items():
        assert torch.equal(value, models[1].state_dict()[name]), name
    assert models[0].physics == config.model.physics()
    assert models[0].metadata.charge_multiplicity == ((-1, 1), (0, 1), (1, 1))
    lines = read_metrics(whole / "metrics.csv")
    assert all(line["valid_local_charge_mae"] >= 0 for line in lines)
    result = json.loads((whole / "result.json").read_text(encoding="utf-8"))
    assert result["local_charge"]["unit"] == "e"
    # The config of the run is the one that was given: it may be loaded again.
    assert "local_charge" not in (whole / "config.yaml").read_text(encoding="utf-8")


def test_equilibrated_charges_are_trained_on(ions, toy_config, toy_splits, tmp_path) -> None:
    """Fine-tuning keeps the network of the charges; other physics is refused."""
    config = toy_config(model=EVERYTHING, data={"targets": ["energy", "forces", "dipole"]})
    model = start_model(*with_total_charge(config, ions)).model
    with torch.no_grad():
        model.equilibration.network.weights[0].add_(0.5)
    save_model(model, tmp_path / "first.safetensors")
    tuned = make_config(
        {
            "name": "tuned",
            "data": config.data.model_dump(),
            "training": config.training.model_dump(),
            "init": str(tmp_path / "first.safetensors"),
            "freeze": "backbone",
        }
    )
    longer, frames = with_total_charge(tuned, ions)
    assert longer.data.targets[-1] == "local_charge"
    again = start_model(longer, frames).model
    assert again.physics == model.physics
    for name, value in model.equilibration.state_dict().items():
        assert torch.equal(again.equilibration.state_dict()[name], value), name
    trainable = {name.split(".")[0] for name, w in again.named_parameters() if w.requires_grad}
    assert trainable == {"heads", "equilibration"}
    other = tuned.model_copy(update={"model": toy_config(model={"repulsion": "zbl"}).model})
    with pytest.raises(UserError, match="the config (asks for|has)"):
        start_model(other, frames)


def test_a_property_leaves_the_energy_of_its_start_out(ions, toy_config, tmp_path) -> None:
    """Charges and closed forms of a force field are no part of a gap; the network is kept."""
    path = tmp_path / "field.safetensors"
    source = start_model(toy_config(model=EVERYTHING), with_total_charge(toy_config(), ions)[1])
    save_model(source.model.eval(), path)
    for name, expected in (("gap", Physics()), ("charges", Physics("equilibrated"))):
        n_labels = len(ions.atomic_numbers) if PROPERTIES[name].per_atom else len(ions)
        labels = torch.randn(n_labels, dtype=torch.float64)
        frames = dataclasses.replace(
            ions, targets={name: labels}, properties={name: PROPERTIES[name]}
        )
        settings = {"data": {"targets": [name]}, "training": {"weights": {}}, "model": {}}
        config, frames = with_total_charge(toy_config(init=str(path), **settings), frames)
        model = start_model(config, frames).model
        assert model.physics == expected
        assert ("local_charge" in frames.targets) == (name == "charges")
        for key, value in source.model.backbone.state_dict().items():
            assert torch.equal(model.backbone.state_dict()[key], value), key
