"""Pieces of generated source: expressions, sums, blocks."""

from __future__ import annotations

from collections.abc import Iterable

# Names of numbers in the generated code, to be defined in the dtype of the features.
CONSTANTS = {
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "half": 0.5,
    "three_halves": 1.5,
    "two_thirds": 2.0 / 3.0,
    "sixth": 1.0 / 6.0,
}
_NAMES = {value: name for name, value in CONSTANTS.items()}


class Text:
    """An expression of the generated code: arithmetic with it writes arithmetic.

    Numbers appear by their names, a division by one as a multiplication by its inverse.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __add__(self, other: Text | float) -> Text:
        return Text(f"({self.text} + {_text_of(other)})")

    def __sub__(self, other: Text | float) -> Text:
        return Text(f"({self.text} - {_text_of(other)})")

    def __rsub__(self, other: float) -> Text:
        return Text(f"({_text_of(other)} - {self.text})")

    def __mul__(self, other: Text | float) -> Text:
        return Text(f"{self.text} * {_text_of(other)}")

    def __rmul__(self, other: float) -> Text:
        return Text(f"{_text_of(other)} * {self.text}")

    def __truediv__(self, other: float) -> Text:
        return self * (1.0 / other)


def _text_of(value: Text | float) -> str:
    if isinstance(value, Text):
        return value.text
    return _NAMES[value] if value > 0 else f"-{_NAMES[-value]}"


def total(terms: Iterable[str]) -> str:
    """Write the sum of terms."""
    return " + ".join(terms)


def only(condition: bool, *lines: str) -> list[str]:
    """Return the lines where the condition holds, else none."""
    return list(lines) if condition else []


def indented(lines: Iterable[str], times: int = 1) -> list[str]:
    """Move the lines of a block to the right."""
    return [" " * (4 * times) + line for line in lines]


def block(head: str, body: Iterable[str]) -> list[str]:
    """Write a head line with the lines under it."""
    return [head, *indented(body)]
