"""The model that a run starts from: its statistics, and what it takes over from a trained one."""

from __future__ import annotations

import pytest
import torch

from molequi.datasets.making import make_frames
from molequi.errors import UserError
from molequi.models.checkpoint import save_model
from molequi.properties import PROPERTIES, declare
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
    assert start.model.metadata.charge_multiplicity == ((0, 1),)


def test_training_calibrates_on_its_own_structures(toy_frames, toy_config):
    """Messages have unit mean square on the data, whatever their density."""
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
    metadata = start_model(toy_config(), frames).model.metadata
    assert metadata.charge_multiplicity == ((0, 1), (1, 2))


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
    # One structure that is chiral is enough, wherever it stands among the first ones.
    flat[-frames.n_atoms[-1] :] = frames.positions[-frames.n_atoms[-1] :]
    start_model(config, planar)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_part_that_stays_zero_is_refused_unless_its_labels_are_zero_too(toy_config, dtype):
    """Pairs of atoms have no 1e in a tensor 0e+1e+2e, whatever the network, but 0e and 2e."""
    row = declare("tensor", irreps="0e+1e+2e", unit="1", extensive=True)
    labels = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    config = toy_config(
        data={"targets": ["tensor"]}, model={"parity": "full", "n_layers": 2, "l_max": 2},
        training={"weights": {}, "dtype": dtype},
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
                match="the 1e part of target 'tensor'.*stays zero on the first 4 training "
                "structures, its labels do not",
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


@pytest.mark.parametrize("freeze", [None, "backbone"])
def test_moments_of_lieconv_move_unless_the_backbone_is_frozen(
    toy_config, toy_frames, tmp_path, freeze
):
    settings = {"architecture": "lieconv", "n_channels": 8}
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
