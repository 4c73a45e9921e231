"""What processes raised arrives as it was; a process that was killed is told from a fault."""

from __future__ import annotations

import errno
import os
import signal
import traceback
from pathlib import Path

import pytest
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from molequi.errors import NotConvergedError, NotFiniteError, RunInterruptedError, UserError
from molequi.training.endings import as_raised, stopped

RUN = Path("runs/toy")


def told(error: BaseException) -> ProcessRaisedException:
    """Say what torch says of a process that raised."""
    text = "".join(traceback.format_exception(error))
    head = "\n\n-- Process 1 terminated with the following error:\n"
    return ProcessRaisedException(f"{head}{text}", 1, 4711)


def raised(error: Exception, context: Exception | None = None) -> Exception:
    """Raise and catch an error, so that it has a traceback, as if another was handled."""
    try:
        raise error
    except type(error) as caught:
        caught.__context__ = context or ValueError("OSError: [Errno 2] in a message")
        return caught


@pytest.mark.parametrize(
    "error",
    [
        UserError("no room for it: give another place"),
        UserError("two lines\nof one message\n  with: colons"),
        NotFiniteError("no number"),
        NotConvergedError("the loss of energy is not a finite number"),
        stopped(RUN, signal.SIGINT),
        stopped(RUN, signal.SIGTERM),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/last.ckpt"),
        OSError(errno.EACCES, os.strerror(errno.EACCES), "it's: here/last.ckpt"),
        OSError(errno.EXDEV, os.strerror(errno.EXDEV), "a", None, "b"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError("in words"),
        MemoryError(),
        MemoryError("for 3 GiB"),
    ],
    ids=repr,
)
def test_an_error_of_a_process_arrives_as_it_was(error: Exception) -> None:
    found = as_raised(told(raised(error)), RUN)
    assert type(found) is type(error)
    assert str(found).partition(" -> ")[0] == str(error).partition(" -> ")[0]
    if isinstance(error, OSError) and isinstance(found, OSError):
        assert (found.errno, found.filename) == (error.errno, error.filename)
    if isinstance(error, RunInterruptedError) and isinstance(found, RunInterruptedError):
        assert found.signal_number == error.signal_number


def test_a_fault_stays_one() -> None:
    """Also where it came up while another error was handled."""
    assert as_raised(told(raised(KeyError("x"), OSError(errno.ENOENT, "gone"))), RUN) is None
    crashed = ProcessExitedException("x", 1, 4711, -int(signal.SIGSEGV), "SIGSEGV")
    assert as_raised(crashed, RUN) is None
    assert as_raised(ProcessExitedException("x", 1, 4711, 3), RUN) is None


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "a process of the training was killed, often for want of memory"),
        (signal.SIGTERM, "training stopped by SIGTERM"),
    ],
)
def test_a_process_that_was_killed_leaves_a_run_to_go_on_with(number: int, words: str) -> None:
    found = as_raised(ProcessExitedException("x", 1, 4711, -int(number), "name"), RUN)
    assert isinstance(found, RunInterruptedError)
    assert str(found) == f"{words}; it is saved in {RUN}, go on with --resume"
    assert found.signal_number == number
