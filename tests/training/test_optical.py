"""Learning handed properties.

What exact parity makes unnecessary, and what a wrong parity makes impossible.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import join_frames, make_frames
from molequi.models.making import make_model
from molequi.models.molecular import MolecularModel
from molequi.models.structure import random_rotation
from molequi.properties import PROPERTIES, Property, declare, part_names
from molequi.training.evaluation import evaluate_frames
from molequi.training.loss import Objective

MOLECULES = ((6, 8, 1, 1, 1), (6, 6, 8, 1), (8, 6, 1, 1, 6, 1))
TARGETS = ("rosenfeld", "polarizability", "dipole", "handedness")
PARITY = {"rosenfeld": -1, "polarizability": 1, "dipole": -1}


def structures(n_frames: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Positions (A, 3), atomic numbers (A,) and atom counts (B,) of shaken molecules."""
    generator = torch.Generator().manual_seed(seed)
    numbers = [MOLECULES[k % len(MOLECULES)] for k in range(n_frames)]
    corners = torch.tensor(
        [[0, 0, 0], [1.2, 0, 0], [0, 1.2, 0], [0, 0, 1.2], [1.2, 1.2, 0], [1.2, 0, 1.2]],
        dtype=torch.float64,
    )
    positions = torch.cat(
        [
            corners[: len(m)]
            + 0.2 * torch.randn(len(m), 3, generator=generator, dtype=torch.float64)
            for m in numbers
        ]
    )
    return (
        positions,
        torch.tensor([z for m in numbers for z in m]),
        torch.tensor([len(m) for m in numbers]),
    )


def labelled(n_frames: int) -> Frames:
    """Random labels: the laws below hold whatever is learned. Most atoms have no handedness."""
    positions, numbers, counts = structures(n_frames)
    generator = torch.Generator().manual_seed(7)
    tensor = torch.randn(n_frames, 3, 3, generator=generator, dtype=torch.float64)
    handedness = torch.full((len(numbers),), math.nan, dtype=torch.float64)
    first = torch.cumsum(counts, 0) - counts
    handedness[first] = torch.randint(0, 2, (n_frames,), generator=generator).to(torch.float64)
    targets = {
        "rosenfeld": tensor, "polarizability": tensor + tensor.mT,
        "dipole": torch.randn(n_frames, 3, generator=generator, dtype=torch.float64),
        "handedness": handedness,
    }  # fmt: skip
    return make_frames(
        positions,
        numbers,
        counts,
        targets=targets,
        properties={name: PROPERTIES[name] for name in targets},
    )


def mirrored(frames: Frames) -> Frames:
    """The images x -> -x, labels by hand: R becomes S."""
    targets = {
        name: PARITY[name] * values for name, values in frames.targets.items() if name in PARITY
    }
    if "handedness" in frames.targets:
        targets["handedness"] = 1.0 - frames.targets["handedness"]
    return dataclasses.replace(frames, positions=-frames.positions, targets=targets)


def network(*names: str | Property, **settings: object) -> MolecularModel:
    return make_model(
        (1, 6, 8),
        names,
        **{"n_layers": 3, "n_channels": 4, "l_max": 2, "parity": "full", "cutoff": 4.0, **settings},
    ).to(torch.float64)


def loss_and_gradient(model: MolecularModel, frames: Frames) -> tuple[Tensor, list[Tensor]]:
    rows = [frames.properties[name] for name in frames.targets]
    objective = Objective(rows, {part: 1.5 for row in rows for part in part_names(row)}, huber=0.5)
    graph, targets = frames.batch(torch.arange(len(frames)), model.cutoff)
    sums = objective.sums(model(graph), targets, graph)
    loss = (objective.weights({}) * sums / objective.counts(targets)).sum()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return loss.detach(), [gradient.detach() for gradient in gradients]


def test_mirror_images_add_nothing_to_the_training_set() -> None:
    """One frame and its image give the same loss and gradient: augmentation changes no step."""
    model, frames = network(*TARGETS), labelled(6)
    loss, gradient = loss_and_gradient(model, frames)
    for other in (mirrored(frames), join_frames([frames, mirrored(frames)])):
        value, slopes = loss_and_gradient(model, other)
        assert float(value) == pytest.approx(float(loss), rel=1e-14)
        for mine, theirs in zip(gradient, slopes, strict=True):
            torch.testing.assert_close(theirs, mine, rtol=1e-10, atol=1e-12)
    assert max(float(slope.abs().max()) for slope in gradient) > 1e-3


def test_the_two_hands_share_one_probability() -> None:
    """P(R) of the image is 1 - P(R); atoms without a label have no say."""
    model, frames = network("handedness"), labelled(6).with_targets(["handedness"])
    evaluation, image = evaluate_frames(model, frames), evaluate_frames(model, mirrored(frames))
    assert torch.equal(image.predictions["handedness"], -evaluation.predictions["handedness"])
    result, reflected = evaluation.result["handedness"], image.result["handedness"]
    assert result["count"] == 6
    for key in ("mae", "rmse", "accuracy"):
        assert reflected[key] == pytest.approx(result[key], rel=1e-12)
    weights = [parameter for head in model.heads.values() for parameter in head.parameters()]
    frames.targets["handedness"][0] = math.nan
    graph, targets = frames.batch(torch.arange(6), model.cutoff)
    logits = model(graph)["handedness"]
    Objective([PROPERTIES["handedness"]], {"handedness": 1.0}).sums(
        {"handedness": logits}, targets, graph
    ).sum().backward()
    assert any(float(weight.grad.abs().max()) > 0 for weight in weights if weight.grad is not None)
    expected = torch.nn.functional.softplus(
        torch.where(targets["handedness"] > 0.5, -logits, logits)
    )[~torch.isnan(targets["handedness"])]
    found = Objective([PROPERTIES["handedness"]], {"handedness": 1.0}).sums(
        {"handedness": logits}, targets, graph
    )
    assert float(found.detach()) == pytest.approx(float(expected.detach().sum()), rel=1e-12)
    assert len(expected) == 5


def axial_moment(positions: Tensor, numbers: Tensor, batch: Tensor) -> Tensor:
    """J = sum q x p with q = r - centre and p_i = sum_j Z_j exp(-r_ij) r_ij.

    An axial vector made of positions and charges alone, (B, 3).
    """
    n_molecules = int(batch[-1]) + 1
    zeros = positions.new_zeros(n_molecules, 3)
    centre = zeros.index_add(0, batch, positions) / torch.bincount(batch)[:, None]
    vectors = positions[None] - positions[:, None]
    weights = torch.exp(-vectors.norm(dim=2)) * numbers * (batch[None] == batch[:, None])
    momenta = (weights[:, :, None] * vectors).sum(dim=1)
    return zeros.index_add(0, batch, torch.linalg.cross(positions - centre[batch], momenta, dim=1))


def axial_frames(irreps: str, n_frames: int) -> Frames:
    """Structures and their images x -> -x with J, called a target of these irreps."""
    row = declare("moment", irreps=irreps, unit="1", extensive=True)
    positions, numbers, counts = structures(n_frames, seed=3)
    batch = torch.repeat_interleave(torch.arange(n_frames), counts)
    both = [
        make_frames(
            sign * positions,
            numbers,
            counts,
            targets={"moment": axial_moment(sign * positions, numbers, batch)},
            properties={"moment": row},
        )
        for sign in (1.0, -1.0)
    ]
    return join_frames(both)


def test_an_axial_vector_turns_with_the_molecule_and_keeps_its_sign_in_the_mirror() -> None:
    positions, numbers, counts = structures(4)
    batch = torch.repeat_interleave(torch.arange(4), counts)
    value, rotation = (
        axial_moment(positions, numbers, batch),
        torch.as_tensor(random_rotation(np.random.default_rng(0))),
    )
    model = network(declare("moment", irreps="1e", unit="1", extensive=True))
    frames = make_frames(positions, numbers, counts)
    graph, _ = frames.batch(torch.arange(4), model.cutoff)
    for sign in (1.0, -1.0):
        moved = sign * positions @ rotation.T
        torch.testing.assert_close(axial_moment(moved, numbers, batch), value @ rotation.T)
        prediction = model(graph._replace(positions=moved))["moment"]
        torch.testing.assert_close(prediction, model(graph)["moment"] @ rotation.T)
        assert prediction.abs().max() > 1e-3


def test_calling_an_axial_vector_a_vector_makes_it_unlearnable() -> None:
    """A 1o output changes sign in the mirror and J does not.

    Over both hands no 1o output is better than zero; a 1e output learns J.
    """
    r2 = {}
    for irreps in ("1e", "1o"):
        frames = axial_frames(irreps, 12)
        model = network(frames.properties["moment"], n_layers=2, l_max=1, n_channels=8)
        graph, targets = frames.batch(torch.arange(len(frames)), model.cutoff)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss = (model(graph)["moment"] - targets["moment"]).square().mean()
            loss.backward()
            optimizer.step()
        r2[irreps] = evaluate_frames(model, frames).result["moment"]["r2"]
    assert r2["1e"] > 0.9
    assert r2["1o"] <= 1e-3
