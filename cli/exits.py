"""Exit codes, and the one line that an error becomes."""

from __future__ import annotations

import difflib
import signal
import sys
import tempfile
import traceback
from collections.abc import Collection
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from molequi.errors import NotConvergedError, RunInterruptedError, UserError
from molequi.runtime.files import NO_ROOM


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1  # a check failed, or some inputs failed; the good ones are written
    USAGE = 2  # wrong input or usage; nothing is written
    NOT_CONVERGED = 3  # or stopped by a physics guard; frames are kept
    INTERNAL = 70
    INTERRUPTED = 75  # saved and resumable
    CTRL_C = 130


class Explanation(NamedTuple):
    """What becomes of an error: the exit code, and the line for the user, which may be empty."""

    code: ExitCode
    line: str


@runtime_checkable
class _UsageError(Protocol):
    """An error of typer, whose classes moved between its releases."""

    def format_message(self) -> str:
        """Word the error."""


def explain(error: BaseException, *, debug: bool) -> Explanation:
    """Return the exit code of an error and the line for the user.

    An internal error's traceback is shown with `debug`, and written to a file otherwise.
    """
    for kind, (code, word) in _EXPECTED.items():
        if isinstance(error, kind):
            return Explanation(code, f"{word}: {_one_line(error)}")
    if isinstance(error, RunInterruptedError):
        by_user = error.signal_number == signal.SIGINT
        code = ExitCode.CTRL_C if by_user else ExitCode.INTERRUPTED
        return Explanation(code, f"interrupted: {_one_line(error)}")
    if isinstance(error, _UsageError):
        return Explanation(ExitCode.USAGE, _usage_line(error))
    error = _as_raised(error)
    if isinstance(error, KeyboardInterrupt):
        return Explanation(ExitCode.CTRL_C, "stopped by Ctrl-C")
    if isinstance(error, OSError) and _is_about_files(error):
        return Explanation(ExitCode.USAGE, f"error: {error.filename or 'output'}: {error.strerror}")
    return Explanation(ExitCode.INTERNAL, _internal_line(error, debug=debug))


def _is_about_files(error: OSError) -> bool:
    """Tell whether the system refused a file: one that it names, or any for want of room."""
    return error.filename is not None or error.errno in NO_ROOM


def _as_raised(error: BaseException) -> BaseException:
    """Return what typer has made an Abort of: Ctrl-C, or a file that ended too early."""
    if type(error).__name__ != "Abort":
        return error
    return error.__cause__ if isinstance(error.__cause__, EOFError) else KeyboardInterrupt()


_EXPECTED = {
    UserError: (ExitCode.USAGE, "error"),
    NotConvergedError: (ExitCode.NOT_CONVERGED, "stopped"),
}


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _usage_line(error: _UsageError) -> str:
    """Word typer's message with the command it belongs to and where to read on."""
    if type(error).__name__ == "NoArgsIsHelpError":
        # A group of commands without a command: the help has been printed, or is the message.
        return error.format_message()
    details = vars(error)
    context = details.get("ctx")
    command = context.command_path if context is not None else "molequi"
    if "possibilities" in details:  # an unknown option, in some releases of typer a command too
        name = str(details.get("option_name") or details.get("command_name"))
        near = _nearest(name, details["possibilities"] or ())
        known = f"did you mean {' or '.join(near)}?" if near else f"`{command} --help` lists them"
        return f"error: `{command}` has no {_option(name)}; {known}"
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    hint = "" if "Did you mean" in message else f"; see `{command} --help`"
    return f"error: {message}{hint}"


def _option(name: str) -> str:
    return f"{'option' if name.startswith('-') else 'command'} {name}"


def _nearest(name: str, possibilities: Collection[str]) -> list[str]:
    """Return those that differ by a slip of the finger, all where none does."""
    slips = difflib.get_close_matches(name, possibilities, n=3, cutoff=0.75)
    return slips or sorted(possibilities)


def _internal_line(error: BaseException, *, debug: bool) -> str:
    what = f"internal error: {type(error).__name__}: {_one_line(error)}"
    text = "".join(traceback.format_exception(error))
    if debug:
        from molequi.runtime.gate import printable

        sys.stderr.write(printable(text))
        return what
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="molequi-",
            suffix=".txt",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(f"molequi {' '.join(sys.argv[1:])}\n{text}")
    except OSError:
        return f"{what} (run again with --debug for the traceback)"
    return f"{what} (traceback in {Path(file.name)}; --debug shows it)"
