"""How symmetry is kept: motions against formulas; networks that keep it, learn it, or do not."""

from __future__ import annotations

import json

import pytest
import torch

from molequi.datasets.sampler import TrainingBatch
from molequi.errors import UserError
from molequi.graphs.graph import edge_vectors
from molequi.models.making import make_model
from molequi.models.settings import ModelSettings
from molequi.properties import PROPERTIES, declare
from molequi.training.fit import fit_frames
from molequi.training.loss import Objective
from molequi.training.symmetry import (
    Augmented,
    Penalized,
    random_motions,
    violations,
    way_to_keep,
)

AXIAL = declare("axial", irreps="1e", unit="1")
HAND = declare("hand", irreps="0o", unit="1", binary=True)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def model_of(*names, **settings):
    settings = {"architecture": "coordinates", **settings}
    return make_model([1, 6, 8], names, n_channels=4, cutoff=4.0, **settings).double()


def rows_of(*names):
    return [PROPERTIES[name] for name in names]


def test_values_turn_as_the_formulas_of_their_kind(toy_frames):
    graph = toy_frames(4).batch(torch.arange(4), 4.0)[0]
    motions = random_motions(4, graph.positions, seeded())
    r, sign = motions.matrices, torch.linalg.det(motions.matrices)
    assert set(sign.round().tolist()) == {-1.0, 1.0}
    vectors, tensors = (torch.randn(4, *shape, dtype=torch.float64) for shape in ((3,), (3, 3)))
    tensors = tensors + tensors.mT
    turned = (r @ vectors[:, :, None])[:, :, 0]
    close = torch.testing.assert_close
    close(motions.turn(PROPERTIES["dipole"], vectors, graph), turned)
    close(motions.turn(AXIAL, vectors, graph), sign[:, None] * turned)
    close(motions.turn(PROPERTIES["polarizability"], tensors, graph), r @ tensors @ r.mT)
    rosenfeld = motions.turn(PROPERTIES["rosenfeld"], tensors, graph)
    close(rosenfeld, sign[:, None, None] * (r @ tensors @ r.mT))
    yes = torch.tensor([1.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    close(motions.turn_labels(HAND, yes, graph), torch.where(sign > 0, yes, 1.0 - yes))


@pytest.mark.parametrize("is_periodic", [False, True])
def test_molecules_and_crystals_move_as_rigid_bodies(toy_frames, is_periodic):
    frames = toy_frames(3)
    if is_periodic:
        frames.cell[:] = 6.0 * torch.eye(3, dtype=torch.float64)
        frames.pbc[:] = True
    graph = frames.batch(torch.arange(3), 4.0)[0]
    motions = random_motions(3, graph.positions, seeded())
    matrices = motions.matrices[graph.batch[graph.edge_index[1]]]
    wanted = (matrices @ edge_vectors(graph)[:, :, None])[:, :, 0]
    torch.testing.assert_close(edge_vectors(motions.move(graph)), wanted)


def test_violation_is_zero_where_the_law_is_kept_and_only_there(toy_frames):
    frames, rows = toy_frames(6), rows_of("energy", "forces", "dipole")
    exact = violations(model_of("energy", "dipole", architecture="spherical"), frames, rows)
    plain = violations(model_of("energy", "dipole"), frames, rows)
    cubic = violations(model_of("energy", "dipole", average="Oh"), frames, rows)
    assert max(exact.values()) < 1e-12
    assert min(plain.values()) > 1e-2
    assert all(cubic[name] < 0.3 * plain[name] for name in plain)
    framed = model_of("energy", "dipole", "polarizability", AXIAL, average="frames")
    rows = [row for name, row in framed.properties.items() if name in framed.outputs]
    assert max(violations(framed, frames, rows).values()) < 1e-12


def test_frames_have_no_forces_and_no_crystals(toy_frames):
    with pytest.raises(UserError, match="take a point group, such as model.average=Oh"):
        model_of("energy", "forces", average="frames")
    frames = toy_frames(1)
    frames.pbc[:] = True
    frames.cell[:] = 6.0 * torch.eye(3, dtype=torch.float64)
    with pytest.raises(UserError, match="no principal axes"):
        model_of("energy", average="frames")(frames.batch(torch.arange(1), 4.0)[0])
    with pytest.raises(UserError, match="no point group"):
        model_of("energy", average="cube")


def test_augmented_labels_are_those_of_the_moved_molecules(toy_frames):
    """An exact model is the law: what it gives for the moved graph are the moved labels."""
    law = model_of("energy", "dipole", architecture="spherical")
    graph = toy_frames(4).batch(torch.arange(4), 4.0)[0]
    rows = rows_of("energy", "forces", "dipole")
    targets = {row.name: law.compute(graph)[row.name] for row in rows}
    torch.manual_seed(0)
    moved, turned, _ = Augmented(rows).batch(TrainingBatch(graph, targets, None))
    assert (moved.positions - graph.positions).abs().max() > 0.1
    found = law.compute(moved)
    for row in rows:
        torch.testing.assert_close(found[row.name], turned[row.name], atol=1e-11, rtol=0)


def test_penalty_is_that_of_the_violation_and_has_a_gradient(toy_frames):
    rows = rows_of("energy", "forces")
    objective = Objective(rows, {row.name: 1.0 for row in rows}, huber=None)
    graph = toy_frames(4).batch(torch.arange(4), 4.0)[0]
    found = {}
    for name in ("spherical", "coordinates"):
        model = model_of("energy", architecture=name)

        def compute(graph, model=model):
            return model.compute(graph, create_graph=True)

        weights = objective.weights({})
        found[name] = Penalized(objective, 2.0).penalty(compute, graph, compute(graph), weights)
        found[name].backward()
    assert found["spherical"] < 1e-20
    assert found["coordinates"] > 1e-4
    assert max(float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("symmetry", ["exact", "averaged", "penalty", "augmented", "none"])
def test_every_run_says_what_it_violates(toy_frames, toy_config, symmetry, tmp_path):
    more = {"l_max": 1 if symmetry == "exact" else None}
    config = toy_config(model={"symmetry": symmetry, **more}, training={"dtype": "float64"})
    splits = {
        "train": torch.arange(8),
        "valid": torch.arange(8, 10),
        "test": torch.arange(10, 12),
    }
    fit_frames(config, toy_frames(12), splits, tmp_path / "run", plots=False)
    result = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    found = result["forces"]["violation"]
    assert found < 1e-12 if symmetry == "exact" else found > 1e-6
    assert "violation" in (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"symmetry": "none", "architecture": "spherical"}, "is exact by construction"),
        ({"symmetry": "exact", "architecture": "coordinates"}, "does not ensure"),
        ({"symmetry": "none", "average": "O"}, "belongs to model.symmetry=averaged"),
        ({"penalty": 2.0}, "belongs to model.symmetry=penalty"),
    ],
)
def test_settings_that_contradict_the_switch_are_refused(toy_config, settings, message):
    with pytest.raises(UserError, match=message):
        toy_config(model=settings)


def test_displacements_are_not_moved():
    objective = Objective(rows_of("forces", "force_changes"), {"forces": 1.0, "force_changes": 1.0})
    with pytest.raises(UserError, match="does not move displacements"):
        way_to_keep(ModelSettings(symmetry="augmented"), objective)
