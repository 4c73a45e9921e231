"""Locks on outputs that grow while a command runs: a second command that would write is refused.

The lock is the operating system's, on the file or folder itself: it leaves nothing behind, and ends
with the process, however that ends.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from molequi.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None

logger = logging.getLogger(__name__)

# Some network file systems have no such locks; a run there goes on without.
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.ENOSYS}


def lock(descriptor: int, path: str | os.PathLike[str], *, wait: bool = False) -> None:
    """Lock an open file or folder until it is closed.

    Where another process, or another opening of it, holds the lock: with `wait` wait for it, else
    raise UserError. A system without such locks is named in the log, and nothing is held.
    """
    if not CAN_LOCK:
        logger.warning("this system cannot lock %s; let no two runs write there", os.fspath(path))
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise UserError(
                f"another run is writing to {os.fspath(path)} now; wait until it has ended, stop "
                "it, or give another output"
            ) from None
        logger.info("waiting for another run, which is writing to %s", os.fspath(path))
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@contextmanager
def locked(path: str | os.PathLike[str], *, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file or folder that exists; `wait` and errors as in `lock`."""
    if not CAN_LOCK and os.path.isdir(path):  # nor can folders be opened there
        lock(-1, path)
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        lock(descriptor, path, wait=wait)
        yield
    finally:
        os.close(descriptor)


def refuse_locked(path: str | os.PathLike[str]) -> None:
    """Raise UserError where somebody holds the lock of a file or folder, which need not exist."""
    with suppress(FileNotFoundError), locked(path):
        pass
