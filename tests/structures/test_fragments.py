"""Molecules set side by side."""

import numpy as np
import pytest

from molequi.structures.fragments import GAP, closest, in_a_row


def test_gaps_between_the_outermost_nuclei() -> None:
    rng = np.random.default_rng(0)
    places = [rng.standard_normal((n, 3)) for n in (3, 1, 4)]
    members = [(0, 2, 5), (1,), (3, 4, 6, 7)]  # atoms in any order
    positions = in_a_row(places, members)
    spans = [(positions[list(m), 0].min(), positions[list(m), 0].max()) for m in members]
    for (_, end), (start, _) in zip(spans, spans[1:], strict=False):
        assert start - end == pytest.approx(GAP)
    assert closest(positions, members) >= GAP
    for place, atoms in zip(places, members, strict=True):
        moved = positions[list(atoms)]
        assert moved - moved.mean(axis=0) == pytest.approx(place - place.mean(axis=0))
