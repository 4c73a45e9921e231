"""The clock of a run."""

from __future__ import annotations

from molequi.training.clock import Clock


def test_clock_goes_on_from_what_was_spent_before():
    ticks = iter([5.0, 7.0, 10.0])
    clock = Clock(lambda: next(ticks))
    clock.start(100.0)
    assert clock.seconds() == 103.0


def test_clock_only_moves_forward():
    clock = Clock()
    clock.start(0.0)
    first = clock.seconds()
    assert 0.0 <= first <= clock.seconds()
