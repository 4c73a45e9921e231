"""Words: around numbers, so that one is not several, of errors of structures, and their lines."""

from __future__ import annotations

import re
import textwrap


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
    names_file = error.startswith((f"{source} ", f"{source}: "))
    return error if names_file else f"{name}: {error}"


class _Lines(textwrap.TextWrapper):
    """Breaks a text at spaces and behind the signs that join the words of names and paths."""

    wordsep_simple_re = re.compile(r"(\s+|(?<=[_/]))")


def wrapped(text: str, width: int) -> str:
    """Break a text into lines of at most `width` letters."""
    return _Lines(width, break_on_hyphens=False).fill(text)


def shortened(name: str, most: int) -> str:
    """Leave out the middle of a name of more than `most` letters."""
    half = most // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"
