"""Output files: they appear complete, by rename, and never replace another by accident."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from molequi.errors import UserError


def check_output(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    remedy: str = "give --overwrite or another name",
) -> Path:
    """Return the path of an output that may be written.

    Raises UserError where a non-empty file or folder is in the way and `overwrite` is not set, or
    where the parent folder is missing.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(
            f"the folder {path.parent} of the output {path.name} does not exist; make it first or "
            "give another place"
        )
    if path.is_dir():
        occupied = any(path.iterdir())
    else:
        occupied = path.exists() and path.stat().st_size > 0
    if occupied and not overwrite:
        raise UserError(f"the output {path} exists already; {remedy}")
    return path


@contextmanager
def written_by_rename(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to.

    It takes the name `path` when the block ends well and is removed otherwise.

    The temporary name keeps the suffixes, because writers choose the format by them.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
