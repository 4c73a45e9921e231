"""Words around numbers, so that one is not several."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Write a number before its noun, whose plural ends in s: `1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def all_of(number: int, noun: str) -> str:
    """Name all of a number of things, with their verb: `all 3 rounds are`, `the only round is`."""
    return f"the only {noun} is" if number == 1 else f"all {number} {noun}s are"
