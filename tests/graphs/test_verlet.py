"""Verlet lists against a fresh search, on paths where lists go wrong."""

import numpy as np
import pytest
import torch

from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import build_graph
from molequi.graphs.verlet import VerletList

CUTOFF = 4.0


def random_structure(n_atoms, cell, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n_atoms, 3)) @ np.asarray(cell), rng.integers(1, 9, n_atoms)


def edges(graph):
    """Rows (receiver, sender, shift), sorted."""
    rows = torch.cat([graph.edge_index.flip(0).T, graph.shifts], dim=1).numpy()
    return rows[np.lexsort(rows.T[::-1])]


def assert_is_fresh(graph: AtomGraph, positions, numbers, cell, pbc):
    fresh = build_graph(positions, numbers, CUTOFF, cell=cell, pbc=pbc)
    np.testing.assert_array_equal(edges(graph), edges(fresh))
    torch.testing.assert_close(graph.receiver_ptr, fresh.receiver_ptr)
    # The senders' order must sort this graph's own edges, stably.
    torch.testing.assert_close(graph.sender_order, torch.argsort(graph.edge_index[0], stable=True))
    for field in (
        "positions",
        "atomic_numbers",
        "cell",
        "pbc",
        "batch",
        "total_charge",
        "spin_multiplicity",
    ):
        torch.testing.assert_close(getattr(graph, field), getattr(fresh, field), rtol=0, atol=0)
    assert all(
        getattr(graph, field).dtype == getattr(fresh, field).dtype for field in AtomGraph._fields
    )


CELLS = {
    "one atom": (1, np.eye(3) * 3.0, [True] * 3),
    "cutoff three times the cell": (3, np.eye(3) * CUTOFF / 3, [True] * 3),
    "slab": (20, np.diag([7.0, 6.0, 15.0]), [True, True, False]),
    "slab without a third vector": (20, np.diag([7.0, 6.0, 0.0]), [True, True, False]),
    "wire": (12, np.diag([5.0, 9.0, 9.0]), [True, False, False]),
    "triclinic": (15, np.array([[7.0, 0, 0], [3.0, 6.0, 0], [-2.0, 1.0, 8.0]]), [True] * 3),
    "open": (30, np.eye(3) * 8.0, [False] * 3),
    "large and open": (80, np.eye(3) * 12.0, [False] * 3),
}


@pytest.mark.parametrize("name", CELLS)
def test_random_walk_equals_fresh_search(name):
    n_atoms, cell, pbc = CELLS[name]
    positions, numbers = random_structure(n_atoms, cell)
    rng = np.random.default_rng(1)
    skin = VerletList(CUTOFF, 0.6)
    for _ in range(40):
        graph = skin.graph(positions, numbers, cell=cell, pbc=pbc)
        assert_is_fresh(graph, positions, numbers, cell, pbc)
        positions = positions + rng.normal(scale=0.02, size=positions.shape)
    assert skin.n_searches < 20
    assert skin.n_searches > 1 or n_atoms == 1


def test_pair_just_outside_comes_in_at_the_limit_of_the_rule():
    """Two atoms, unlisted by a hair, approach by what the rule allows, then by a little more."""
    skin = VerletList(CUTOFF, 0.5)
    start = np.array([[0.0, 0, 0], [CUTOFF + 0.5 + 1e-6, 0, 0]])
    skin.graph(start, [1, 1])
    for step in (0.2, 0.2499, 0.2501, 0.3):
        moved = start + np.array([[step, 0, 0], [-step, 0, 0]])
        assert_is_fresh(skin.graph(moved, [1, 1]), moved, [1, 1], None, None)
    assert skin.n_searches == 2


def test_wrapping_in_mid_run():
    n_atoms, cell, pbc = CELLS["triclinic"]
    positions, numbers = random_structure(n_atoms, cell)
    skin = VerletList(CUTOFF, 0.5)
    skin.graph(positions, numbers, cell=cell, pbc=pbc)
    wrapped = positions + np.array([1, -2, 1]) @ cell * (np.arange(n_atoms) % 3 == 0)[:, None]
    assert_is_fresh(skin.graph(wrapped, numbers, cell=cell, pbc=pbc), wrapped, numbers, cell, pbc)
    assert skin.n_searches == 2


@pytest.mark.parametrize(
    "name",
    ["triclinic", "slab", "slab without a third vector", "wire", "cutoff three times the cell"],
)
def test_cell_that_breathes_and_shears_with_its_atoms(name):
    """As in NPT: atoms follow the cell; the list is kept for a while, and never misses a pair."""
    n_atoms, cell, pbc = CELLS[name]
    positions, numbers = random_structure(n_atoms, cell)
    rng = np.random.default_rng(2)
    skin = VerletList(CUTOFF, 0.6)
    for _ in range(40):
        assert_is_fresh(
            skin.graph(positions, numbers, cell=cell, pbc=pbc), positions, numbers, cell, pbc
        )
        strain = np.eye(3) + rng.normal(scale=0.004, size=(3, 3)) - 0.004 * np.eye(3)
        cell = cell @ strain
        positions = positions @ strain + rng.normal(scale=0.005, size=positions.shape)
    assert 1 < skin.n_searches < 30


def test_cell_changed_under_fixed_atoms():
    n_atoms, cell, pbc = CELLS["triclinic"]
    positions, numbers = random_structure(n_atoms, cell)
    skin = VerletList(CUTOFF, 0.5)
    for scale in (1.0, 0.97, 0.9, 1.1):
        assert_is_fresh(
            skin.graph(positions, numbers, cell=cell * scale, pbc=pbc),
            positions,
            numbers,
            cell * scale,
            pbc,
        )


def test_numbers_and_pbc_lead_to_a_new_search():
    n_atoms, cell, pbc = CELLS["triclinic"]
    positions, numbers = random_structure(n_atoms, cell)
    skin = VerletList(CUTOFF, 0.5)
    skin.graph(positions, numbers, cell=cell, pbc=pbc)
    assert_is_fresh(
        skin.graph(positions, numbers[::-1], cell=cell, pbc=pbc),
        positions,
        numbers[::-1].copy(),
        cell,
        pbc,
    )
    assert_is_fresh(
        skin.graph(positions, numbers, cell=cell, pbc=[True, True, False]),
        positions,
        numbers,
        cell,
        [True, True, False],
    )
    assert_is_fresh(
        skin.graph(positions[:5], numbers[:5], cell=cell, pbc=pbc),
        positions[:5],
        numbers[:5],
        cell,
        pbc,
    )
    assert skin.n_searches == 4


def test_order_of_edges_does_not_depend_on_the_history():
    n_atoms, cell, pbc = CELLS["cutoff three times the cell"]
    positions, numbers = random_structure(n_atoms, cell)
    walked = VerletList(CUTOFF, 0.5)
    for shift in (0.0, 0.05, 0.1):
        moved = positions + np.array([[shift, 0, 0], [0, -shift, 0], [0, 0, 0]])
        graph = walked.graph(moved, numbers, cell=cell, pbc=pbc)
    assert walked.n_searches == 1
    again = VerletList(CUTOFF, 0.5).graph(moved, numbers, cell=cell, pbc=pbc)
    for field in AtomGraph._fields:
        assert torch.equal(getattr(graph, field), getattr(again, field))


def test_graph_does_not_share_memory_with_its_source():
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    skin = VerletList(CUTOFF, 0.5)
    graph = skin.graph(positions, [1, 1])
    positions += 5.0
    assert float(graph.positions.abs().max()) == 1.0
    assert skin.graph(positions, [1, 1]).edge_index.shape == (2, 2)
    assert skin.n_searches == 2


def test_empty_and_single_atom():
    assert VerletList(CUTOFF).graph(np.zeros((0, 3)), []).n_molecules == 1
    graph = VerletList(CUTOFF).graph(np.zeros((1, 3)), [6])
    assert graph.edge_index.shape == (2, 0)


def test_position_that_is_not_finite_is_named():
    skin = VerletList(CUTOFF)
    positions = np.array([[0.0, 0, 0], [1.0, 0, 0]])
    skin.graph(positions, [1, 1])
    positions[1, 0] = np.nan
    with pytest.raises(ValueError, match="atom 1"):
        skin.graph(positions, [1, 1])
