"""Output folders whose files belong together: they appear at once, when all are written."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from molequi.errors import UserError
from molequi.runtime.files import check_output, flush, temporary_beside
from molequi.runtime.locks import locked, refuse_locked

# What the files of outputs end in: a folder of such a name was meant to be a file.
_OF_FILES = frozenset(
    ".csv .db .extxyz .gz .html .json .npz .pdf .png .pt .safetensors .traj .txt .xyz .yaml".split()
)


def check_folder(path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Return the path of a folder that may be written.

    Raises UserError as `refuse_file_name`, `refuse_lost_link` and `check_output`.
    """
    refuse_file_name(path)
    refuse_lost_link(path)
    return check_output(path, overwrite=overwrite)


def refuse_file_name(path: str | os.PathLike[str]) -> None:
    """Raise UserError for a name that only a file would have, unless such a folder is there."""
    path = Path(path)
    if path.suffix.lower() in _OF_FILES and not path.is_dir():
        raise UserError(
            f"the output {path} is to be a folder, of several files; give a name without "
            f"{path.suffix}"
        )


def refuse_lost_link(path: str | os.PathLike[str]) -> None:
    """Raise UserError for a link to what does not exist, in whose place no folder can be made."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise UserError(
            f"the output {path} is a link to {path.readlink()}, which does not exist; make that "
            "folder, or give another name"
        )


@contextmanager
def folder_by_rename(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `path` to write to, and give it that name when the block ends well.

    Where `path` is a folder with files already, which needs `overwrite`, the new ones move there
    one after the other, and the others stay. Raises UserError as `check_folder`, and where
    another command writes there, at the beginning and, where something has come up meanwhile, at
    the end.
    """
    path = check_folder(path, overwrite=overwrite)
    refuse_locked(path)
    with temporary_beside(path) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                flush(file)
        try:
            os.replace(temporary, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            check_output(path, overwrite=overwrite)
            with locked(path, wait=True):  # files of two runs must not be mixed
                _move_into(path, temporary)


def _move_into(folder: Path, new: Path) -> None:
    """Move every file of a folder into another; those of the same name are replaced."""
    for file in sorted(new.rglob("*")):
        target = folder / file.relative_to(new)
        if file.is_dir():
            target.mkdir(exist_ok=True)
        else:
            os.replace(file, target)
