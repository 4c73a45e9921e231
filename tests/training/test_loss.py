"""Losses: sums that add up over any cut of the data, masks, units of the scale."""

from __future__ import annotations

import math

import pytest
import torch

from molequi.graphs.graph import collate, make_graph
from molequi.properties import PROPERTIES, declare, part_names
from molequi.training.loss import Objective, atom_counts

ROWS = (
    PROPERTIES["energy"],
    PROPERTIES["forces"],
    PROPERTIES["gap"],
    declare("toxic", unit="1", binary=True),
)
SCALES = {"energy": 0.5, "forces": 2.0, "gap": 3.0, "toxic": 1.0}


def graph_of(n_atoms: list[int]):
    empty = torch.zeros(2, 0, dtype=torch.int64)
    return collate([make_graph(torch.zeros(n, 3), torch.ones(n), empty) for n in n_atoms])


def random_values(n_atoms: list[int], seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n = len(n_atoms)
    values = {
        "energy": torch.randn(n, generator=generator),
        "forces": torch.randn(sum(n_atoms), 3, generator=generator),
    }
    values |= {
        "gap": torch.randn(n, generator=generator),
        "toxic": torch.randint(0, 2, (n,), generator=generator),
    }
    return {name: value.to(torch.float64) for name, value in values.items()}


def test_values_by_hand():
    objective = Objective(ROWS, SCALES, huber=1.0)
    targets = {
        "energy": [0.0, 0.0],
        "forces": [[0.0] * 3] * 3,
        "gap": [math.nan, 0.0],
        "toxic": [1.0, 0.0],
    }
    predictions = {
        "energy": [0.5, 4.0],
        "forces": [[1.0, 0, 0]] * 3,
        "gap": [5.0, 0.3],
        "toxic": [0.0, 0.0],
    }
    targets, predictions = (
        {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        for values in (targets, predictions)
    )
    graph = graph_of([1, 2])
    # Per atom and in units of 0.5: 1 and 4; beyond 1 the loss 2 |x| - 1 is linear.
    expected = [1.0 + 7.0, 3 * 0.25, 0.01, 2 * math.log(2.0)]
    assert objective.sums(predictions, targets, graph).tolist() == pytest.approx(expected)
    assert objective.counts(targets).tolist() == [2, 9, 1, 2]
    assert Objective(ROWS, SCALES, huber=None).sums(predictions, targets, graph)[
        0
    ] == pytest.approx(1.0 + 16.0)


def test_sums_add_up_over_any_cut_and_missing_labels_have_no_gradient():
    n_atoms = [3, 1, 4, 2]
    objective = Objective(ROWS, SCALES)
    targets, predictions = random_values(n_atoms, 0), random_values(n_atoms, 1)
    targets["energy"][1] = math.nan
    targets["forces"][4:6] = math.nan
    predictions = {name: value.requires_grad_(True) for name, value in predictions.items()}
    whole = objective.sums(predictions, targets, graph_of(n_atoms))
    atoms = {0: slice(0, 4), 1: slice(4, 10)}
    parts = []
    for k, rows in enumerate((slice(0, 2), slice(2, 4))):
        cut = [
            {name: value[atoms[k] if name == "forces" else rows] for name, value in values.items()}
            for values in (predictions, targets)
        ]
        parts.append(objective.sums(*cut, graph_of(n_atoms[rows])))
    assert torch.allclose(whole, sum(parts), rtol=1e-14)
    whole.sum().backward()
    assert predictions["energy"].grad[1] == 0
    assert float(predictions["forces"].grad[4:6].abs().max()) == 0
    assert all(torch.isfinite(value.grad).all() for value in predictions.values())


def test_parts_of_a_tensor_have_their_own_scales_and_weights():
    row = PROPERTIES["rosenfeld"]
    objective = Objective(
        [row], {"rosenfeld[0o]": 0.5, "rosenfeld[1o]": 2.0, "rosenfeld[2o]": 4.0}, huber=None
    )
    # The trace is 3, its part 3 / sqrt(3); the antisymmetric part is sqrt(2) long, the rest
    # nothing.
    error = torch.tensor([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)[
        None
    ]
    labels = {"rosenfeld": torch.zeros_like(error)}
    assert objective.names == ("rosenfeld[0o]", "rosenfeld[1o]", "rosenfeld[2o]")
    assert objective.sums({"rosenfeld": error}, labels, graph_of([1])).tolist() == pytest.approx(
        [3.0 / 0.25, 2.0 / 4.0, 0.0]
    )
    assert objective.counts(labels).tolist() == [1, 3, 5]
    assert objective.weights({}).tolist() == pytest.approx([1 / 3] * 3)
    assert objective.weights({"rosenfeld": 3.0, "rosenfeld[0o]": 4.0}).tolist() == pytest.approx(
        [4 / 6, 1 / 6, 1 / 6]
    )


def test_a_tensor_with_a_missing_component_counts_nothing_and_has_no_gradient():
    row = PROPERTIES["rosenfeld"]
    objective = Objective([row], dict.fromkeys(part_names(row), 1.0))
    labels = torch.ones(2, 3, 3, dtype=torch.float64)
    labels[0, 1, 2] = math.nan
    prediction = torch.zeros(2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert objective.counts({"rosenfeld": labels}).tolist() == [1, 3, 5]
    objective.sums(
        {"rosenfeld": prediction}, {"rosenfeld": labels}, graph_of([1, 1])
    ).sum().backward()
    assert torch.equal(prediction.grad[0], torch.zeros(3, 3, dtype=torch.float64))
    assert torch.isfinite(prediction.grad[1]).all()
    assert prediction.grad[1].abs().max() > 0


def test_an_empty_part_gives_zero():
    objective = Objective(ROWS, SCALES)
    nothing = {
        "energy": torch.zeros(0),
        "forces": torch.zeros(0, 3),
        "gap": torch.zeros(0),
        "toxic": torch.zeros(0),
    }
    graph = graph_of([1])._replace(
        batch=torch.zeros(0, dtype=torch.int64), cell=torch.zeros(0, 3, 3)
    )
    assert objective.sums(nothing, nothing, graph).tolist() == [0, 0, 0, 0]
    assert objective.counts(nothing).tolist() == [0, 0, 0, 0]


def test_weights_add_up_to_one():
    weights = Objective(ROWS, SCALES).weights({"forces": 7.0})
    assert weights.tolist() == pytest.approx([0.1, 0.7, 0.1, 0.1])


def test_atom_counts_see_empty_molecules():
    graph = graph_of([2, 1])._replace(cell=torch.zeros(3, 3, 3))
    assert atom_counts(graph).tolist() == [2, 1, 0]


def test_lengths_of_vectors_by_hand():
    """Errors of length 0.5, 5 and unknown, in units of 1: beyond 1 the loss 2 |x| - 1 is linear."""
    prediction = torch.tensor([[0.3, 0.4, 0.0], [0.0, 3.0, 4.0], [9.0, 9.0, 9.0]])
    prediction = {"forces": prediction.double().requires_grad_(True)}
    labels = torch.zeros(3, 3, dtype=torch.float64)
    labels[2, 1] = math.nan
    rows, scales, graph = [PROPERTIES["forces"]], {"forces": 1.0}, graph_of([3])
    for huber, expected in ((1.0, 0.25 + 9.0), (None, 0.5 + 5.0)):
        objective = Objective(rows, scales, huber=huber, lengths=["forces"])
        assert objective.counts({"forces": labels}).tolist() == [2]
        loss = objective.sums(prediction, {"forces": labels}, graph)
        assert loss.tolist() == pytest.approx([expected])
    loss.sum().backward()
    expected = torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8], [0.0, 0.0, 0.0]])
    assert torch.allclose(prediction["forces"].grad, expected.double())


def test_lengths_do_not_depend_on_the_axes_and_have_a_gradient_at_zero():
    turn = torch.linalg.qr(random_values([3], 2)["forces"]).Q
    targets, predictions = random_values([3], 0), random_values([3], 1)
    rows, graph = [PROPERTIES["forces"]], graph_of([3])
    turned = [{"forces": values["forces"] @ turn} for values in (predictions, targets)]
    for huber in (None, 0.5):
        objective = Objective(rows, SCALES, huber=huber, lengths=["forces"])
        loss = objective.sums(predictions, targets, graph)
        assert torch.allclose(objective.sums(*turned, graph), loss)
        exact = {"forces": targets["forces"].clone().requires_grad_(True)}
        objective.sums(exact, targets, graph).sum().backward()
        assert torch.equal(exact["forces"].grad, torch.zeros(3, 3, dtype=torch.float64))
