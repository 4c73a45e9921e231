"""Structures in pieces: what is computed of them, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from molequi.datasets.in_memory import Frames
from molequi.datasets.making import make_frames
from molequi.datasets.pieces import INTERACTION_ENERGY, PIECES, check_pieces, pieces_of
from molequi.errors import UserError
from molequi.properties import PROPERTIES

# NH4+ and Cl- in pieces 3 and 1, atoms of one piece not together; water, whole; two He.
NUMBERS = ((7, 17, 1, 1, 1, 1), (8, 1, 1), (2, 2))
CHARGES = (0, 0, 0)
NAN = float("nan")
TOLD = (
    ((3.0, 1.0), (1.0, -1.0), (3.0, 1.0), (3.0, 1.0), (3.0, 1.0), (3.0, 1.0)),
    ((NAN, NAN),) * 3,
    ((0.0, 0.0), (7.0, 0.0)),
)
LABELS = (-4.0, NAN, 0.001)


def frames_of() -> Frames:
    generator = torch.Generator().manual_seed(0)
    counts = torch.tensor([len(one) for one in NUMBERS])
    told = torch.tensor([row for one in TOLD for row in one], dtype=torch.float64)
    names = (INTERACTION_ENERGY, PIECES)
    return make_frames(
        3.0 * torch.randn(int(counts.sum()), 3, generator=generator, dtype=torch.float64),
        torch.tensor([z for one in NUMBERS for z in one]),
        counts,
        targets=dict(zip(names, (torch.tensor(LABELS, dtype=torch.float64), told), strict=True)),
        properties={name: PROPERTIES[name] for name in names},
    )


def test_pieces_are_molecules_where_they_stand():
    frames = frames_of()
    found = pieces_of(frames, torch.tensor([1, 2, 0]), 5.0)
    assert found.owner.tolist() == [1, 1, 2, 2]
    graph = found.graph
    assert graph.n_molecules == 4
    assert graph.atomic_numbers.tolist() == [2, 2, 17, 7, 1, 1, 1, 1]
    assert graph.total_charge.tolist() == [0, 0, -1, 1]
    expected = frames.positions[torch.tensor([9, 10, 1, 0, 2, 3, 4, 5])]
    torch.testing.assert_close(graph.positions, expected)
    edges = graph.batch[graph.edge_index]
    assert bool((edges[0] == edges[1]).all())


def test_interactions_are_differences():
    found = pieces_of(frames_of(), torch.tensor([1, 2, 0]), 5.0)
    whole = torch.tensor([-5.0, -2.0, -30.0], dtype=torch.float64)
    alone = torch.tensor([-0.5, -1.25, -20.0, -7.0], dtype=torch.float64)
    assert found.differences(whole, alone).tolist() == [0.0, -0.25, -3.0]


def test_batches_without_pieces_have_none():
    frames = frames_of()
    assert pieces_of(frames, torch.tensor([1]), 5.0) is None
    assert pieces_of(frames.with_targets([]), torch.tensor([0]), 5.0) is None
    assert set(frames.with_targets([INTERACTION_ENERGY]).targets) == {INTERACTION_ENERGY, PIECES}
    check_pieces(frames)


@pytest.mark.parametrize(
    ("atom", "told", "message"),
    [
        (0, (NAN, NAN), "pieces are missing"),
        (0, (3.0, 0.5), "not whole numbers"),
        (0, (2.5, 1.0), "not whole numbers"),
        (0, (3.0, 2.0), "a piece with two charges"),
        (1, (1.0, 0.0), "do not add up to its total charge"),
        (1, (3.0, 1.0), "it is one piece"),
    ],
)
def test_wrong_pieces_are_refused(atom, told, message):
    frames = frames_of()
    frames.targets[PIECES][atom] = torch.tensor(told, dtype=torch.float64)
    with pytest.raises(UserError, match=f"structure 0 has interaction_energy, but .*{message}"):
        check_pieces(frames)


@pytest.mark.parametrize("change", [{"pbc": True}, {"spin_multiplicity": 3}])
def test_periodic_structures_and_triplets_are_refused(change):
    frames = frames_of()
    ((name, value),) = change.items()
    values = getattr(frames, name).clone()
    values[2] = value
    with pytest.raises(UserError, match="structure 2 .*periodic or no singlet"):
        check_pieces(dataclasses.replace(frames, **{name: values}))
