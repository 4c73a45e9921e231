"""The model that a run starts from: its statistics, and what it takes over from a trained one."""

from __future__ import annotations

import math

import pytest
import torch

from molequi.datasets.in_memory import make_frames
from molequi.errors import UserError
from molequi.models.checkpoint import load_model, save_model
from molequi.models.molecular import make_model
from molequi.properties import PROPERTIES, declare
from molequi.training.evaluation import evaluate_frames, predict_frames
from molequi.training.fit import fit_frames
from molequi.training.reference_energies import composition
from molequi.training.setup import start_model


def test_new_model_starts_near_the_composition_fit(toy_frames, toy_config):
    frames = toy_frames(30)
    start = start_model(toy_config(data={"targets": ["energy", "forces", "dipole"]}), frames)
    counts, elements = composition(frames)
    guess = counts @ start.model.heads["energy"].reference[elements]
    assert float((guess - frames.targets["energy"]).abs().mean()) < 0.5
    assert float(start.model.heads["energy"].scale) == pytest.approx(
        float(frames.targets["forces"].square().mean().sqrt())
    )
    assert start.scales["dipole"] == pytest.approx(
        float(frames.targets["dipole"].square().mean().sqrt())
    )
    assert start.model.metadata["charge_multiplicity"] == [[0, 1]]


def test_training_calibrates_on_its_own_structures(toy_frames, toy_config):
    """Not on those of `make_model`: messages have unit mean square on the data, whatever their density."""
    counts = []
    for stretch in (1.0, 1.5):
        frames = toy_frames(9)
        frames = type(frames)(**{**vars(frames), "positions": stretch * frames.positions})
        model = start_model(toy_config(model={"n_layers": 2, "correlation": 3}), frames).model
        graph, _ = frames.batch(torch.arange(9), model.cutoff)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.backbone.calibrate(graph)
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=1e-4, atol=0.0)
        counts.append(float(model.backbone.layers[0].neighbor_count))
    assert counts[0] > 2 * counts[1]


def test_charges_of_the_training_set_are_stated(toy_frames, toy_config):
    frames = toy_frames(6)
    frames.total_charge[2] = 1
    frames.spin_multiplicity[2] = 2
    assert start_model(toy_config(), frames).model.metadata["charge_multiplicity"] == [
        [0, 1],
        [1, 2],
    ]


@pytest.mark.parametrize("form", ["mapping", "file"])
def test_given_reference_energies_make_atomization_energies(tmp_path, toy_frames, toy_config, form):
    given = {"H": -13.0, "C": -1030.0, "O": -2040.0}
    (tmp_path / "atoms.yaml").write_text("H: -13.0\n6: -1030.0\nO: -2040.0\n", encoding="utf-8")
    setting = given if form == "mapping" else str(tmp_path / "atoms.yaml")
    model = start_model(toy_config(training={"reference_energies": setting}), toy_frames(9)).model
    assert [float(model.heads["energy"].reference[z]) for z in (1, 6, 8)] == [
        -13.0,
        -1030.0,
        -2040.0,
    ]
    graph, _ = toy_frames(9).batch(torch.arange(9), model.cutoff)
    assert "atomization_energy" in model(graph)
    assert "atomization_energy" not in start_model(toy_config(), toy_frames(9)).model(graph)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"H": -13.0, "O": -2040.0}, r"lacks the elements \[6\]"),
        ({"Hh": 1.0}, "Hh: 1.0 is not an element"),
        ("nowhere.yaml", "cannot be read"),
    ],
)
def test_wrong_reference_energies_are_refused(toy_frames, toy_config, setting, words):
    with pytest.raises(UserError, match=words):
        start_model(toy_config(training={"reference_energies": setting}), toy_frames(6))


def test_output_that_stays_zero_on_the_data_is_refused(toy_frames, toy_config):
    frames = toy_frames(6)
    flat = frames.positions.clone()
    flat[:, 2] = 0.0
    row = PROPERTIES["rosenfeld_isotropic"]
    planar = type(frames)(
        **{
            **vars(frames),
            "positions": flat,
            "targets": {row.name: torch.rand(6, dtype=torch.float64)},
            "properties": {row.name: row},
        }
    )
    config = toy_config(
        data={"targets": [row.name]},
        model={"parity": "full", "n_layers": 3, "l_max": 2},
        training={"weights": {}, "dtype": "float64"},
    )
    with pytest.raises(UserError, match="0o part of target 'rosenfeld_isotropic'.*stays zero"):
        start_model(config, planar)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_part_that_stays_zero_is_refused_unless_its_labels_are_zero_too(toy_config, dtype):
    """Pairs of atoms have no 1e in a tensor 0e+1e+2e, whatever the network, but 0e and 2e."""
    row = declare("tensor", irreps="0e+1e+2e", unit="1", extensive=True)
    labels = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    config = toy_config(
        data={"targets": ["tensor"]}, model={"parity": "full", "n_layers": 2, "l_max": 2}, training={"weights": {}, "dtype": dtype},
        properties={"tensor": {"irreps": row.irreps, "unit": "1", "extensive": True}},
    )  # fmt: skip
    positions = torch.tensor([[0.0, 0.0, 0.0], [0.6, 0.8, 0.5]] * 4, dtype=torch.float64)
    for values in (labels, labels + labels.mT):
        frames = make_frames(
            positions,
            torch.tensor([1, 8] * 4),
            torch.full((4,), 2),
            targets={"tensor": values},
            properties={"tensor": row},
        )
        if torch.equal(values, values.mT):
            start_model(config, frames)
        else:
            with pytest.raises(
                UserError,
                match="the 1e part of target 'tensor'.*stays zero on the first 4 training structures, its labels do not",
            ):
                start_model(config, frames)


def test_targets_that_are_zero_for_good_reason_are_no_obstacle(toy_frames, toy_config):
    """Single atoms have no dipole, and theirs is zero."""
    frames = toy_frames(4, molecules=((6,), (8,)))
    assert not frames.targets["dipole"].any()
    start = start_model(
        toy_config(data={"targets": ["energy", "dipole"]}, training={"weights": {}}), frames
    )
    assert start.scales["dipole"] == 1.0


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


def test_evaluation_refuses_elements_that_the_model_does_not_know(toy_frames):
    model = make_model([1, 6], ["energy"], n_channels=4)
    with pytest.raises(UserError, match="contain O, which this model does not know; it knows H C"):
        evaluate_frames(model, toy_frames(6))


@pytest.mark.parametrize("freeze", [None, "backbone"])
def test_moments_of_lieconv_move_unless_the_backbone_is_frozen(
    toy_config, toy_frames, tmp_path, freeze
):
    settings = {"kind": "lieconv", "n_channels": 8}
    small = toy_config(model={"l_max": None, **settings})
    start = start_model(small, toy_frames(12))
    assert start.model.training
    save_model(start.model, tmp_path / "model.safetensors")
    config = toy_config(
        model={"l_max": None, **settings, "n_channels": 8},
        init=str(tmp_path / "model.safetensors"),
        freeze=freeze,
    )
    model = start_model(config, toy_frames(12)).model
    before = model.backbone.network.norm.mean.clone()
    model.compute(
        toy_frames(12, seed=1).batch(torch.arange(12), model.cutoff)[0], create_graph=True
    )
    assert torch.equal(model.backbone.network.norm.mean, before) == (freeze == "backbone")
