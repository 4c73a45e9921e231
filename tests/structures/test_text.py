"""Encodings, line ends and number formats of people's programs."""

import io

import pytest

from molequi.structures.text import decode, plain_numbers, text_lines

TEXT = "2\nfür Å\nH 0 0 0\nH 0 0 0.74\n"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_and_line_ends(encoding: str, end: str) -> None:
    data = TEXT.replace("\n", end).encode(encoding)
    assert decode(data) == TEXT
    assert "".join(text_lines(io.BytesIO(data))).rstrip("\n") == TEXT.rstrip("\n")


def test_latin1_costs_no_line() -> None:
    data = TEXT.encode("latin-1")
    assert decode(data) == TEXT
    assert list(text_lines(io.BytesIO(data))) == TEXT.splitlines(keepends=True)
    assert list(text_lines(io.BytesIO(b""))) == []
    assert list(text_lines(io.BytesIO(b"one\ntwo"))) == ["one\n", "two"]


def test_lines_longer_than_a_part_stay_whole() -> None:
    lines = ["a" * 3_000_000 + "\n", "b\n", "c" * 1_048_576 + "\n"]
    assert list(text_lines(io.BytesIO("".join(lines).encode()))) == lines


@pytest.mark.parametrize(
    ("written", "number"),
    [("1.178D-01", 0.1178), ("-2.d+2", -200.0), ("8.00100*^-3", 0.008001), ("1*^2", 100.0)],
)
def test_exponents(written: str, number: float) -> None:
    assert float(plain_numbers(written)) == number


@pytest.mark.parametrize("word", ["D2", "1D2", "2D", "Dy", "name1.5D", "x1.0D2"])
def test_words_that_are_no_numbers(word: str) -> None:
    assert plain_numbers(word) == word
