"""What comes by standard input: bytes whose format no name tells."""

from __future__ import annotations

import sys
from typing import NamedTuple

from molequi.runtime.gate import reading
from molequi.structures.formats import Format, decompressed
from molequi.structures.sheets import sheet_suffix
from molequi.structures.sniff import sniff
from molequi.structures.text import decode


class Piped(NamedTuple):
    """What came by standard input, decompressed, and its format."""

    data: bytes
    kind: Format

    def __str__(self) -> str:
        """Name it as a command line does."""
        return "-"


def standard_input() -> Piped:
    """Read what comes by standard input, and tell what it is."""
    with reading("standard input", "structures"):
        data = decompressed(sys.stdin.buffer.read())
    return Piped(data, "table" if sheet_suffix(data) else sniff(decode(data)))
