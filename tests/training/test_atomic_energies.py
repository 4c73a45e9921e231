"""Energies of atoms as labels: what is compared, and that their zero is nobody's business."""

from __future__ import annotations

import json

import pytest
import torch

from molequi.datasets.npz import save_npz
from molequi.experiments import fit
from molequi.models.checkpoint import load_model
from molequi.properties import PROPERTIES
from molequi.training.atomic_energies import within_elements
from molequi.training.fine_tuning import adopt
from molequi.training.setup import start_model

ROW = PROPERTIES["short_range_energies"]
TARGETS = ["energy", "forces", ROW.name]
# Any constants of the elements.
CONSTANTS = {1: -0.7, 6: 3.0, 8: 11.0}


def labelled(frames, constants=CONSTANTS):
    """Half of each pair energy of the toy law for either atom, and a constant of the element."""
    positions, offsets = frames.positions, frames.offsets.tolist()
    atoms = torch.zeros(len(positions), dtype=torch.float64)
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        z = frames.atomic_numbers[first:last].double()
        distances = torch.cdist(positions[first:last], positions[first:last])
        pairs = 0.3 + 0.02 * (z[:, None] + z[None, :])
        pairs = pairs * ((distances - 1.4).square() - 1.0) * torch.exp(-distances.square() / 4.0)
        atoms[first:last] = 0.5 * (pairs - torch.diag(pairs.diagonal())).sum(dim=1)
    shifts = torch.tensor([constants[int(z)] for z in frames.atomic_numbers], dtype=torch.float64)
    frames = frames.with_unlabelled([ROW])
    frames.targets[ROW.name][:] = atoms + shifts
    return frames


def test_labels_are_parts_of_the_energy(toy_frames):
    """Of the test's own labels: without constants they add up to energy less the atoms."""
    from tests.training.conftest import ATOMS

    frames = labelled(toy_frames(6), constants=dict.fromkeys(CONSTANTS, 0.0))
    owner = torch.repeat_interleave(torch.arange(6), frames.n_atoms)
    sums = torch.zeros(6, dtype=torch.float64).index_add(0, owner, frames.targets[ROW.name])
    isolated = torch.tensor([ATOMS[int(z)] for z in frames.atomic_numbers], dtype=torch.float64)
    totals = torch.zeros(6, dtype=torch.float64).index_add(0, owner, isolated)
    torch.testing.assert_close(sums + totals, frames.targets["energy"])


def test_elements_are_centred_each_by_itself(toy_frames):
    frames = toy_frames(12)
    values = frames.atomic_numbers.double() * 7.0
    values[3] = torch.nan
    centred = within_elements(frames, values)
    assert torch.isnan(centred[3])
    assert centred[~torch.isnan(centred)].abs().max() < 1e-12


def test_constants_of_the_labels_change_nothing_at_the_start(toy_frames, toy_config):
    """Scale of the loss, and how far the untrained network is off, are those of any zero."""
    found = []
    for shift in (0.0, 100.0):
        constants = {z: value + shift * z for z, value in CONSTANTS.items()}
        frames = labelled(toy_frames(60), constants)
        start = start_model(toy_config(data={"targets": TARGETS}), frames)
        graph, targets = frames.batch(torch.arange(60), start.model.cutoff)
        error = start.model(graph)[ROW.name].detach() - targets[ROW.name]
        found.append((start.scales[ROW.name], float(error.square().mean().sqrt())))
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    # The spread among atoms of one element; the elements lie hundreds of eV apart.
    assert found[0][0] < 0.2
    assert found[0][1] < 1.0


def test_start_keeps_constants_that_were_learned(toy_frames, toy_config, tmp_path):
    frames = labelled(toy_frames(30))
    save_npz(frames, tmp_path / "toy.npz")
    data = {"path": str(tmp_path / "toy.npz"), "targets": TARGETS}
    run = fit(toy_config(data=data, training={"epochs": 1}), tmp_path / "run")
    learned = load_model(run / "model.safetensors").heads["energy"].constants
    again = start_model(toy_config(data=data, init=str(run / "model.safetensors")), frames).model
    assert torch.equal(again.heads["energy"].constants, learned)
    # Without the target the energy head is kept all the same.
    config = toy_config(init=str(run / "model.safetensors"))
    adopted = adopt(config, config.init, frames, [PROPERTIES["energy"], PROPERTIES["forces"]])
    assert adopted.kept == ["energy"]
    assert adopted.model.heads["energy"].constants is None


def test_labels_are_learned_and_constants_have_no_part_in_the_energy(
    toy_frames, toy_config, toy_splits, tmp_path
):
    save_npz(labelled(toy_frames(90)), tmp_path / "toy.npz", splits=toy_splits(60, 15, 15))
    config = toy_config(
        data={
            "path": str(tmp_path / "toy.npz"),
            "targets": TARGETS,
            "split": {"kind": "stored"},
        },
        model={"n_channels": 8},
        training={"epochs": 20, "weights": {"forces": 10.0, ROW.name: 10.0}},
    )
    run = fit(config, tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    spread = float(
        within_elements(frames := labelled(toy_frames(90)), frames.targets[ROW.name]).std()
    )
    assert result[ROW.name]["mae"] < 0.15 * spread
    model = load_model(run / "model.safetensors")
    graph = frames.batch(torch.arange(3), model.cutoff).graph
    before = model(graph)
    assert ROW.name in model.properties
    model.heads["energy"].constants.add_(1.0)
    after = model(graph)
    torch.testing.assert_close(after[ROW.name] - before[ROW.name], torch.ones(13).double())
    for name in ("energy", "energies"):
        assert torch.equal(before[name], after[name])
    # What the network gives beside references: their sum is the energy.
    head = model.heads["energy"]
    references = head.shift + head.reference[graph.atomic_numbers]
    learned = after["energies"] - references + head.constants[graph.atomic_numbers]
    torch.testing.assert_close(learned, after[ROW.name])
