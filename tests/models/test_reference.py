"""A model file that gives something else than when it was written is seen when it is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from molequi.errors import UserError
from molequi.models.checkpoint import load_model, read_description, save_model
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.models.physics import Physics
from molequi.models.reference import difference_from, make_reference

ELEMENTS = (1, 6, 8, 17)


def made(outputs=("energy", "dipole"), dtype=torch.float32, **settings):
    settings = {"n_channels": 4, "n_layers": 1, "l_max": 1, **settings}
    return make_model(ELEMENTS, list(outputs), **settings).to(dtype)


def rewritten(path: Path, change: Callable[[dict, dict], None]) -> Path:
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["molequi"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    change(description, tensors)
    save_file(tensors, path, metadata={"molequi": json.dumps(description)})
    return path


@pytest.fixture
def path(tmp_path):
    save_model(made(), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors"


@pytest.mark.parametrize(("dtype", "change"), [(torch.float32, 1e-2), (torch.float64, 1e-6)])
def test_changed_weights_are_seen(tmp_path, dtype, change):
    """One weight of all."""
    file = tmp_path / "m.safetensors"
    save_model(made(dtype=dtype), file)

    def damage(_, tensors):
        names = [name for name in tensors if name.startswith("backbone.layers")]
        weight = tensors[max(names, key=lambda name: tensors[name].numel())].view(-1)
        weight[weight.abs().argmax()] *= 1.0 + change

    load_model(file)
    with pytest.raises(UserError, match=r"is damaged, .*reference structure comes out \S+ e.* off"):
        load_model(rewritten(file, damage))


def test_a_wrong_sign_of_the_dipole_is_seen_where_energies_agree(path):
    reference = read_description(path)["reference"]
    reference["values"]["dipole"] = [[-x for x in reference["values"]["dipole"][0]]]
    assert "the dipole of its reference structure" in difference_from(reference, load_model(path))


def test_what_a_file_holds(path):
    reference = read_description(path)["reference"]
    assert reference["numbers"] == list(ELEMENTS)
    assert set(reference["values"]) == {"energy", "forces", "dipole"}
    positions = np.array(reference["positions"])
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    np.testing.assert_allclose(steps, 1.81, atol=0.01)
    assert load_model(path, dtype=torch.float64).dtype == torch.float64


def test_structures_are_what_the_model_takes():
    metadata = ModelMetadata(charge_multiplicity=((-1, 1), (-2, 1)))
    model = make_model((1, 9), ["dipole"], n_channels=4, cutoff=2.5, metadata=metadata)
    reference = make_reference(model)
    assert reference["numbers"] == [1, 9, 1, 9]
    assert reference["charge"] == -1
    assert list(reference["values"]) == ["dipole"]
    assert difference_from(reference, model) is None


def test_training_mode_and_weights_that_learn_stay_as_they_are():
    model = made().train().requires_grad_(True)
    before = torch.get_rng_state()
    make_reference(model)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_charges_and_terms_are_part_of_it(tmp_path):
    model = make_model(
        (35, 53),
        ["energy"],
        n_channels=4,
        physics=Physics("equilibrated", "damped", repulsion="zbl"),
    )
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    reference = read_description(tmp_path / "m.safetensors")["reference"]
    loaded.set_physics(Physics("equilibrated", "damped"))
    assert "the energy of its reference" in difference_from(reference, loaded)


def test_models_that_jump_and_older_files_have_none(path, tmp_path):
    sampled = make_model(ELEMENTS, ["energy"], architecture="lieconv", group="SE(3)", n_channels=4)
    assert not sampled.capabilities.forces
    assert make_reference(sampled) is None
    load_model(rewritten(path, lambda d, _: d.pop("reference")))


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("values"),
        lambda r: r.update(values={"energy": "x"}),
        lambda r: r["values"].update(forces=[[0.0]]),
        lambda r: r.update(numbers=[92, 92, 92, 92]),
        lambda r: r.update(positions=[[0.0, 0.0]]),
        lambda r: r.update(numbers=[1, 1, 1]),
        lambda r: r.update(charge=10**30),
    ],
)
def test_a_damaged_reference_is_refused_in_one_line(path, change):
    with pytest.raises(UserError, match=r"m\.safetensors is damaged.*reference structure") as told:
        load_model(rewritten(path, lambda d, _: change(d["reference"])))
    assert "\n" not in str(told.value)
