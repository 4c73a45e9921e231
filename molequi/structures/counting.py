"""How many structures files hold, told without reading them as structures."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from molequi.structures.formats import UNREADABLE, Format, format_of, open_binary
from molequi.structures.headings import is_smiles_heading
from molequi.structures.sheets import is_sheet


def count_structures(sources: Iterable[str | os.PathLike[str]]) -> int | None:
    """Return the number of structures of some files; None where one does not tell it quickly.

    A number to show progress by: damaged files count as far as they are whole.
    """
    counts = [_count(Path(source)) for source in sources]
    return None if None in counts else sum(count for count in counts if count is not None)


def _count(path: Path) -> int | None:
    count = _COUNTS.get(format_of(path)) if path.is_file() else None
    if count is None or is_sheet(path):
        return None
    try:
        with open_binary(path) as handle:
            return count(handle)
    except (*UNREADABLE, ValueError):
        return None


def _frames(handle: IO[bytes]) -> int:
    """Count the frames of an XYZ file by the numbers of atoms at their heads."""
    lines = iter(handle)
    return sum(1 for head in lines if head.strip() and _skip(lines, int(head) + 1))


def _skip(lines: Iterator[bytes], number: int) -> bool:
    return sum(1 for _ in islice(lines, number)) == number


def _records(handle: IO[bytes]) -> int:
    return sum(line.startswith(b"$$$$") for line in handle) or 1


def _table(handle: IO[bytes]) -> int:
    return max(sum(bool(line.strip()) for line in handle) - 1, 0)


def _smiles(handle: IO[bytes]) -> int:
    lines = [line.split()[0] for line in handle if line.strip() and not line.startswith(b"#")]
    return len(lines) - bool(lines and is_smiles_heading(lines[0].decode("latin-1")))


_COUNTS: dict[Format, Callable[[IO[bytes]], int]] = {
    "xyz": _frames,
    "sdf": _records,
    "smiles": _smiles,
    "table": _table,
}
