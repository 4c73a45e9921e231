"""How a training ends before its time: by a signal, or by what one of its processes raised."""

from __future__ import annotations

import ast
import builtins
import re
import signal
from pathlib import Path

from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

from molequi import errors
from molequi.errors import NotConvergedError, RunInterruptedError, UserError
from molequi.runtime.files import TERMINATING

_TRACEBACK = "Traceback (most recent call last):\n"
# What stands below the frames of a traceback, which are indented: a class and its message.
_RAISED = re.compile(r"^([\w.]+)(?:: (.*))?\Z", re.MULTILINE | re.DOTALL)
_OF_SYSTEM = re.compile(r"\[Errno (\d+)\] (.*?)(?:: ('.*?'|\".*?\"))?(?: -> .*)?", re.DOTALL)


def stopped(folder: Path, number: int) -> RunInterruptedError:
    """Return the error of a training that a signal ended, and that is saved in `folder`."""
    what = f"training stopped by {signal.Signals(number).name}"
    if number == signal.SIGKILL:
        what = "a process of the training was killed, often for want of memory"
    return RunInterruptedError(f"{what}; it is saved in {folder}, go on with --resume", number)


def as_raised(
    error: ProcessRaisedException | ProcessExitedException, folder: Path
) -> Exception | None:
    """Return the error that a spawned process ended with, of a training saved in `folder`.

    None for one that is no more than an internal error there too.
    """
    if isinstance(error, ProcessExitedException):
        number = -error.exit_code
        is_ended = number in (signal.SIGKILL, signal.SIGINT, *TERMINATING)
        return stopped(folder, number) if is_ended else None
    found = _RAISED.search(str(error).rpartition(_TRACEBACK)[2].strip())
    return None if found is None else _made_again(found[1].rpartition(".")[2], found[2] or "")


def _made_again(name: str, message: str) -> Exception | None:
    """Make an error of its class's name and its message."""
    if name.endswith("MemoryError"):  # numpy and torch have some of their own
        return MemoryError(message)
    kind = {**vars(builtins), **vars(errors)}.get(name)
    if not isinstance(kind, type):
        return None
    if issubclass(kind, RunInterruptedError):
        number = signal.SIGINT if "SIGINT" in message else signal.SIGTERM
        return RunInterruptedError(message, int(number))
    if issubclass(kind, UserError | NotConvergedError):
        return kind(message)
    return _of_system(message) if issubclass(kind, OSError) else None


def _of_system(message: str) -> OSError:
    """Return an error of the system with its number, its words and the file, where it names one."""
    found = _OF_SYSTEM.fullmatch(message)
    if found is None:
        return OSError(message)
    file = None if found[3] is None else ast.literal_eval(found[3])
    return OSError(int(found[1]), found[2], file)
