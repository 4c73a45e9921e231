"""Who is picked: the doubted, the different, and what time gives."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from molequi.active.picking import Doubted, Pool, evenly


def bent(angle):
    """Return water with an angle, degrees."""
    atoms = molecule("H2O")
    atoms.set_angle(1, 0, 2, angle)
    return atoms


def pool_of(angles, doubts):
    frames = [bent(angle) for angle in angles]
    for step, frame in enumerate(frames):
        frame.info["molequi_step"] = step
    doubts = np.array(doubts, dtype=float)
    return Pool(frames, doubts, doubts)


def test_the_most_doubted_comes_first_and_the_sure_not_at_all():
    pool = pool_of([80, 100, 120, 140], [0.11, 0.05, 0.9, 0.85])
    assert Doubted(0.1)(pool, [], 4) == [2, 3, 0]
    assert Doubted(1.0)(pool, [], 4) == []
    assert Doubted(0.1)(pool, [], 1) == [2]


def test_near_duplicates_are_picked_once():
    pool = pool_of([80, 80.5, 81, 120, 120.5], [0.9, 0.95, 0.9, 0.3, 0.2])
    assert Doubted(0.1)(pool, [], 5) == [1, 3]


def test_what_is_labelled_is_not_labelled_again():
    pool = pool_of([80, 100, 120], [0.9, 0.2, 0.5])
    assert Doubted(0.1)(pool, [bent(80.1)], 3) == [2, 1]
    assert Doubted(0.1)(pool, pool.frames, 3) == []


def test_molecules_of_another_composition_do_not_count_as_near():
    pool = pool_of([80, 120], [0.9, 0.5])
    assert Doubted(0.1)(pool, [molecule("NH3"), molecule("CH4")], 2) == [0, 1]
    doubts = np.array([0.9, 0.5, 0.7])
    both = Pool([*pool.frames, molecule("NH3")], doubts, doubts)
    assert Doubted(0.1)(both, [], 3) == [0, 2, 1]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_even_picks_span_the_time_and_leave_the_start_out(n):
    pool = pool_of(range(80, 101), np.zeros(21))
    picked = evenly(pool, [], n)
    assert (picked[0], picked[-1], len(picked)) == (1, 20, n)
    gaps = np.diff(picked)
    assert gaps.max() - gaps.min() <= 1
    assert evenly(pool, [], 50) == list(range(1, 21))


def test_the_largest_doubt_admits_and_the_mean_decides():
    pool = pool_of([80, 120, 140], [0.9, 0.5, 0.05])
    pool = pool._replace(means=np.array([0.2, 0.3, 0.9]))
    assert Doubted(0.1)(pool, [], 3) == [1, 0]
