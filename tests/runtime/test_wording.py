"""Numbers before their nouns."""

from __future__ import annotations

from molequi.runtime.wording import all_of, counted


def test_one_is_not_several():
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert [all_of(n, "round") for n in (1, 3)] == ["the only round is", "all 3 rounds are"]
