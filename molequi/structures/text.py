"""Text as people's programs write it: encodings, line ends, numbers with a Fortran exponent."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from molequi.structures.formats import open_binary

_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 26
_LARGEST = 1 << 28
_MISSING = {"", "nan", "na", "n/a", "#n/a", "none", "null", "-"}
_MOST_DIGITS = 15  # of a number of atoms
# 1.178D-01 (Fortran) and 8.00100*^-3 (Mathematica), whole words only.
_EXPONENT = re.compile(
    r"(?<![\w.])([+-]?(?:\d+\.\d*|\.\d+|\d+(?=\*)))(?:[dD]|\*\^)([+-]?\d+)(?![\w.])"
)


def text_lines(handle: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a text with a newline at the end of each, decoded as `decode` does.

    A part at a time, so that a long trajectory never stands in memory.
    """
    pending = handle.read(_CHUNK)
    if _encoding(pending) != "utf-8" or (b"\r" in pending and b"\n" not in pending):
        # UTF-16, or the line ends of old Macs: no byte splits the lines.
        yield from (f"{line}\n" for line in decode(pending + handle.read()).split("\n"))
        return
    pending = pending.removeprefix(codecs.BOM_UTF8)
    while True:
        *lines, pending = pending.split(b"\n")
        yield from (decode(line.removesuffix(b"\r")) + "\n" for line in lines)
        more = handle.read(_CHUNK)
        if not more:
            break
        pending += more
        if len(pending) > _LONGEST_LINE:
            raise OSError(f"a line of more than {_LONGEST_LINE >> 20} MB is no text")
    if pending:
        yield decode(pending.removesuffix(b"\r"))


def text_of(path: Path, most: int = _LARGEST) -> str:
    """Return the text of a file up to so many bytes, and nothing of a very large one."""
    if path.stat().st_size > _LARGEST:
        return ""
    with open_binary(path) as handle:
        return decode(handle.read(most))


def decode(data: bytes) -> str:
    """Read bytes as text: UTF-16 or UTF-8 by its mark, else UTF-8, else Latin-1.

    Line ends of any kind become a newline. What is not UTF-8 is a letter in a comment or a name,
    and in Latin-1 every byte is one.
    """
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode(_encoding(data))
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def count_in(line: str | bytes) -> int | None:
    """Return the number of atoms that a line at the head of an XYZ frame states.

    None for a line that is something else, such as a number that is no count of anything.
    """
    digits = line.strip()
    if not 0 < len(digits) <= _MOST_DIGITS:
        return None
    text = digits.decode("latin-1") if isinstance(digits, bytes) else digits
    return int(text) if text.isdecimal() else None


def is_missing(cell: object) -> bool:
    """Tell whether a cell says nothing, such as `n/a`."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING)


def plain_numbers(text: str) -> str:
    """Write the exponents of Fortran (D) and Mathematica (*^) with an e."""
    return _EXPONENT.sub(r"\1e\2", text)


def _encoding(data: bytes) -> str:
    """Tell UTF-16, which PowerShell's > writes, by its mark or by a zero in every other byte."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = data[:64]
    for encoding, first in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(start) >= 4 and not any(start[first::2]) and all(start[1 - first :: 2]):
            return encoding
    return "utf-8"
