"""Output files: they appear complete, by rename, and never replace another by accident."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import platform
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

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


# What ends a process from outside: by request, or with its terminal.
TERMINATING = (signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else []))
# Bytes: with so few no file of ours finds room.
_NOTHING_LEFT = 4096


@contextmanager
def written_by_rename(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and give it that name when the block ends well.

    The bytes are on the disk before the name is. Whatever ends the block otherwise, an exception,
    Ctrl-C or SIGTERM, leaves the old file as it was and nothing beside it; what a process left that
    was killed at once is removed by the next that writes there. The temporary name keeps the
    suffixes, because writers choose the format by them.
    """
    path = Path(path)
    _remove_left_behind(path)
    temporary = path.with_name(f".{os.getpid()}-{_host()}{secrets.token_hex(4)}-{path.name}")
    with _termination_as_exit():
        try:
            yield temporary
            _flush(temporary)
            os.replace(temporary, path)
        except Exception as error:
            if _is_full(path.parent):  # writers say so in many ways, or fail by what is missing
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8, complete or not at all."""
    with written_by_rename(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _host() -> str:
    """Name this machine in four letters: a folder may be shared with others."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:4]


def _remove_left_behind(path: Path) -> None:
    """Remove what processes of this machine that are no more began to write in place of `path`."""
    for left in path.parent.glob(f".*-{_host()}*-{glob.escape(path.name)}"):
        process = left.name[1:].partition("-")[0]
        if process.isdigit() and not _is_running(int(process)):
            left.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's, or the system does not tell
        return True
    return True


def _is_full(folder: Path) -> bool:
    try:
        system = os.statvfs(folder)
    except (OSError, AttributeError):  # it has vanished; Windows has no statvfs
        return False
    return system.f_bavail * system.f_frsize < _NOTHING_LEFT


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Turn signals into SystemExit where nobody handles them: by default nothing cleans up."""
    is_main = threading.current_thread() is threading.main_thread()
    default = [n for n in TERMINATING if is_main and signal.getsignal(n) is signal.SIG_DFL]
    for number in default:
        signal.signal(number, _exit)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
