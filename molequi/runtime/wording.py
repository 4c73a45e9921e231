"""Words around numbers, so that one is not several, and around errors of structures."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Write a number before its noun, whose plural ends in s: `1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def all_of(number: int, noun: str) -> str:
    """Name all of a number of things, with their verb: `all 3 rounds are`, `the only round is`."""
    return f"the only {noun} is" if number == 1 else f"all {number} {noun}s are"


def capital(text: str) -> str:
    """Begin a text with a capital letter; the others stay as they are, those of `logP` too."""
    return text[:1].upper() + text[1:]


def named_error(name: str, source: str, error: str) -> str:
    """Say which structure an error is of; that of a whole file names the file itself."""
    return error if error.startswith(f"{source} ") else f"{name}: {error}"
