"""Neighbour pairs against all images by hand; cells and coordinates that no matter can have."""

import itertools

import numpy as np
import pytest
from ase.geometry import minkowski_reduce

from molequi.errors import UserError
from molequi.graphs.cells import reduced_cell
from molequi.graphs.neighbors import neighbor_pairs
from molequi.graphs.verlet import VerletList

CUTOFF = 5.0
RNG = np.random.default_rng(7)
H2 = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]])
OPEN, FULL, SLAB = (False, False, False), (True, True, True), (True, True, False)


def spread(n_atoms: int, *sides: float) -> np.ndarray:
    return RNG.random((n_atoms, 3)) * sides - np.array(sides) / 3


def by_hand(positions: np.ndarray, cell: np.ndarray, pbc: tuple[bool, ...], reach: int) -> set:
    """All pairs over all images up to `reach` cells away."""
    found = set()
    counts = [range(-reach, reach + 1) if is_periodic else (0,) for is_periodic in pbc]
    for shift in itertools.product(*counts):
        vectors = positions[None] + np.array(shift, dtype=float) @ cell - positions[:, None]
        for i, j in np.argwhere(np.linalg.norm(vectors, axis=2) < CUTOFF):
            if i != j or any(shift):
                found.add((int(j), int(i), *shift))
    return found


def listed(positions: np.ndarray, cell: np.ndarray, pbc: tuple[bool, ...]) -> set:
    (sender, receiver), shifts = neighbor_pairs(positions, CUTOFF, cell=cell, pbc=np.array(pbc))
    assert (np.diff(receiver) >= 0).all()
    pairs = list(zip(sender.tolist(), receiver.tolist(), *shifts.T.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


# Boxes for which bins of the cutoff's size are too many, or of which a direction has none; atoms
# outside the cell; cells whose shortest vectors are sums of those given.
SOUND = {
    "two long directions": (H2, np.diag([9.0, 2000.0, 2000.0]), FULL, 1),
    "one very long direction": (H2, np.diag([9.0, 9.0, 1e6]), FULL, 1),
    "a long box of many atoms": (spread(90, 8, 60, 30), np.diag([8.0, 3e4, 2e4]), FULL, 2),
    "a long and low box": (spread(6, 30, 9, 9), np.diag([3.0, 4e4, 3e5]), FULL, 12),
    "a long slab": (spread(80, 9, 9, 4000), np.diag([4.0, 3e5, 0.0]), SLAB, 5),
    "atoms in a plane far apart": (spread(100, 3000, 3000, 1), np.zeros((3, 3)), OPEN, 0),
    "atoms in a line far apart": (spread(100, 1e4, 1, 1), np.zeros((3, 3)), OPEN, 0),
    "a skewed cell": (H2, np.array([[4.0, 0, 0], [41.0, 4.0, 0], [0, 0, 4.0]]), FULL, 14),
    "an ordinary crystal": (spread(70, 9, 9, 9), np.diag([9.0, 9.5, 10.0]), FULL, 3),
}


@pytest.mark.parametrize("name", SOUND)
def test_the_pairs_are_all_images_by_hand(name):
    positions, cell, pbc, reach = SOUND[name]
    expected = by_hand(positions, cell, pbc, reach)
    assert listed(positions, cell, pbc) == expected
    assert expected


def test_reduced_cells_are_those_of_ase():
    """Lengths, because the vectors themselves are not unique; the lattice stays the same."""
    for k in range(40):
        cell = RNG.normal(size=(3, 3)) * 10.0 ** RNG.integers(-1, 3, size=(3, 1))
        cell[1] += RNG.integers(-300, 300) * cell[0]
        cell[2] += RNG.integers(-300, 300) * cell[0] + RNG.integers(-300, 300) * cell[1]
        pbc = np.array([FULL, SLAB, (False, True, True), (False, True, False)][k % 4])
        reduced, combinations = reduced_cell(cell, pbc)
        assert abs(round(np.linalg.det(combinations))) == 1
        np.testing.assert_allclose(combinations @ cell, reduced, rtol=1e-12)
        np.testing.assert_array_equal(reduced[~pbc], cell[~pbc])
        expected, _ = minkowski_reduce(cell, pbc)
        np.testing.assert_allclose(
            np.sort(np.linalg.norm(reduced[pbc], axis=1)),
            np.sort(np.linalg.norm(expected[pbc], axis=1)),
            rtol=1e-8,
        )


IMPOSSIBLE = {
    "tiny": (H2, np.eye(3) * 0.01, FULL, "repeats every atom after 0.01 Å"),
    "flat": (H2, np.array([[10, 0, 0], [3.14, 1e-3, 0], [0, 0, 10]]), FULL, "repeats every atom"),
    "flat slab": (H2, np.array([[10, 0, 0], [20, 1e-2, 0], [0, 0, 0]]), SLAB, "repeats every"),
    "dense": (spread(400, 3, 3, 3), np.eye(3) * 3.0, FULL, "0.0675 Å³ for each of its 400"),
    "dependent": (H2, np.array([[9.0, 0, 0], [9.0, 0, 0], [0, 0, 9]]), FULL, "linearly dependent"),
    "no vector": (H2, np.diag([9.0, 0.0, 9.0]), FULL, "axis 1 but its cell vector is zero"),
    "not finite": (H2, np.diag([9.0, np.nan, 9.0]), FULL, "cell vector 1 is"),
    "astronomic": (H2, np.diag([9.0, 9.0, 1e200]), FULL, "shorter than a centimetre"),
    "astronomic though open": (H2, np.diag([9.0, 9.0, 1e300]), OPEN, "shorter than a centimetre"),
    "far out": (np.array([[0.0, 0, 0], [1e300, 0, 0]]), np.zeros((3, 3)), OPEN, "atom 1 is .* Å"),
    "infinite": (np.array([[0.0, 0, 0], [np.inf, 0, 0]]), np.zeros((3, 3)), OPEN, "not finite"),
    "a heap": (RNG.random((3000, 3)) * 0.1, np.zeros((3, 3)), OPEN, r"atom \d+ and atom \d+ are"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_no_matter_can_have_is_refused_before_any_search(name):
    positions, cell, pbc, message = IMPOSSIBLE[name]
    for search in (
        lambda: neighbor_pairs(positions, CUTOFF, cell=cell, pbc=np.array(pbc)),
        lambda: VerletList(CUTOFF).graph(
            positions, np.ones(len(positions), dtype=int), cell=cell, pbc=np.array(pbc)
        ),
    ):
        with pytest.raises(UserError, match=message):
            search()


@pytest.mark.parametrize("length", [-1.0, float("nan"), float("inf")])
def test_cutoffs_and_skins_that_are_no_lengths_are_refused(length):
    for make in (
        lambda: neighbor_pairs(H2, length),
        lambda: VerletList(length),
        lambda: VerletList(CUTOFF, length),
    ):
        with pytest.raises(UserError, match=rf"{length} Å.*must be positive.*finite"):
            make()


def test_a_skin_that_is_a_text_is_refused():
    with pytest.raises(UserError, match="skin '0.5' Å"):
        VerletList(CUTOFF, "0.5")
