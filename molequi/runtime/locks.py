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


def lock(
    descriptor: int, path: str | os.PathLike[str], *, wait: bool = False, shared: bool = False
) -> None:
    """Lock an open file or folder until it is closed.

    shared: beside others who share it. Where another process, or another opening of it, holds the
    lock: with `wait` wait for it, else raise UserError. A system without such locks is named in the
    log, and nothing is held.
    """
    if not CAN_LOCK:
        logger.warning("this system cannot lock %s; let no two runs write there", os.fspath(path))
        return
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise UserError(
                f"another run is writing to {os.fspath(path)} now; wait until it has ended, stop "
                "it, or give another output"
            ) from None
        logger.info("waiting for another run, which is writing to %s", os.fspath(path))
        fcntl.flock(descriptor, kind)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


@contextmanager
def locked(
    path: str | os.PathLike[str], *, wait: bool = False, shared: bool = False
) -> Iterator[None]:
    """Hold the lock of a file or folder that exists; the options and errors are those of `lock`."""
    if not CAN_LOCK and os.path.isdir(path):  # nor can folders be opened there
        lock(-1, path)
        yield
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        lock(descriptor, path, wait=wait, shared=shared)
        yield
    finally:
        os.close(descriptor)


def refuse_locked(path: str | os.PathLike[str]) -> None:
    """Raise UserError where somebody holds the lock of a file or folder, which need not exist."""
    # Shared: processes that start together look at once, and network file systems lock what is
    # open to read alone in no other way.
    with suppress(FileNotFoundError), locked(path, shared=True):
        pass
