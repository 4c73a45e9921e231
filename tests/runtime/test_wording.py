"""Numbers before their nouns."""

from __future__ import annotations

from molequi.runtime.wording import all_of, counted, named_error


def test_one_is_not_several():
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert [all_of(n, "round") for n in (1, 3)] == ["the only round is", "all 3 rounds are"]


def test_an_error_of_a_whole_file_names_it_once():
    name = "structure 0 of a.xyz"
    assert named_error(name, "a.xyz", "a.xyz holds no structures") == "a.xyz holds no structures"
    assert named_error(name, "a.xyz", "no atoms") == "structure 0 of a.xyz: no atoms"
