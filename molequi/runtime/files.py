"""Output files: they appear complete, by rename, and never replace another by accident."""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import platform
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from molequi.errors import UserError


def refuse_nameless(path: Path) -> None:
    """Raise UserError for the path of an output that ends in no name: `.`, `..` or `/`."""
    if path.name in ("", ".."):
        raise UserError(f"the output {path} is no name for what is written; give one")


def check_output(
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    remedy: str = "give --overwrite or another name",
) -> Path:
    """Return the path of an output that may be written.

    Raises UserError where a non-empty file or folder is in the way and `overwrite` is not set,
    where the parent folder is missing, and for `.`, `..` and `/`.
    """
    path = Path(path)
    refuse_nameless(path)
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


def no_file(path: str | os.PathLike[str]) -> str:
    """Say why there is no file of that name: there is nothing, or a folder."""
    return f"{path} is a folder" if Path(path).is_dir() else f"{path} does not exist"


# What ends a process from outside: by request, or with its terminal.
TERMINATING = (signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else []))
# Errors that say that a file may not grow: a full disk, a quota, a limit of the system's.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
# Bytes: with so few no file of ours finds room.
_NOTHING_LEFT = 4096
# Part of the names of what this process writes. A process of a container may have the same number
# as the one before it, which was killed.
_THIS_RUN = secrets.token_hex(4)
_TEMPORARY = re.compile(r"\.(?P<process>\d+)-(?P<host>[0-9a-f]{4})(?P<run>[0-9a-f]{8})")


@contextlib.contextmanager
def written_by_rename(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a path beside `path` to write to, and give it that name when the block ends well.

    The bytes are on the disk before the name is, and the name when this returns. Whatever ends the
    block otherwise, an exception, Ctrl-C or SIGTERM, leaves the old file as it was and nothing
    beside it; what a process left that was killed at once is removed by the next that writes there.
    The temporary name keeps the suffixes, because writers choose the format by them. Without
    `overwrite` a file that has come up meanwhile is not replaced: UserError.
    """
    path = Path(path)
    with temporary_beside(path) as temporary:
        yield temporary
        flush(temporary)
        if not overwrite:
            check_output(path)
        os.replace(temporary, path)
        _flush_names(path.parent)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside `path`, for a file or folder that is gone when the block ends.

    It is gone too where Ctrl-C or SIGTERM ends the block; what a process left that was killed at
    once is removed by the next. Raises OSError that names `path` where there is no room, whatever
    the block says of that.
    """
    _remove_left_behind(path)
    begin = f".{os.getpid()}-{_host()}{_THIS_RUN}"
    temporary = path.with_name(f"{begin}{secrets.token_hex(4)}-{path.name}")
    with _termination_as_exit():
        try:
            yield temporary
        except Exception as error:
            number = _no_room(error, temporary)
            if number is not None:
                raise OSError(number, os.strerror(number), str(path)) from error
            raise
        finally:
            _remove(temporary)


def is_temporary(path: Path) -> bool:
    """Tell whether a path is one that `temporary_beside` gave, in this process or another."""
    return _TEMPORARY.match(path.name) is not None


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
        named = _TEMPORARY.match(left.name)
        if named and not _is_running(int(named["process"]), named["run"]):
            _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_running(process: int, run: str) -> bool:
    if process == os.getpid():
        return run == _THIS_RUN
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's, or the system does not tell
        return True
    return True


def _no_room(error: Exception, temporary: Path) -> int | None:
    """Return the number of the system's error where it was want of room that ended a writer.

    Writers say so in many ways, or fail by what is missing.
    """
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return error.errno
    if _is_full(temporary.parent):
        return errno.ENOSPC
    if temporary.is_file():
        try:
            with temporary.open("ab") as file:
                file.write(bytes(_NOTHING_LEFT))
        except OSError as refusal:
            return refusal.errno if refusal.errno in NO_ROOM else None
    return None


def _is_full(folder: Path) -> bool:
    try:
        system = os.statvfs(folder)
    except (OSError, AttributeError):  # it has vanished; Windows has no statvfs
        return False
    return system.f_bavail * system.f_frsize < _NOTHING_LEFT


def flush(path: Path) -> None:
    """Return when the bytes of a file are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_names(folder: Path) -> None:
    """Have the names of a folder's files on the disk, where the system can: Windows cannot."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextlib.contextmanager
def _termination_as_exit() -> Iterator[None]:
    """Turn signals into SystemExit where nobody handles them: by default nothing cleans up.

    It comes at the end of the block too, for libraries turn it into errors of their own.
    """
    is_main = threading.current_thread() is threading.main_thread()
    default = [n for n in TERMINATING if is_main and signal.getsignal(n) is signal.SIG_DFL]
    asked: list[int] = []

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for other in default:  # who asks twice must not keep us from tidying up
            signal.signal(other, signal.SIG_IGN)
        asked.append(number)
        raise SystemExit(128 + number)

    for number in default:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)
        if asked:
            raise SystemExit(128 + asked[0])
