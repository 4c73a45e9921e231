"""Exit codes, and the one line that an error becomes."""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from enum import IntEnum
from pathlib import Path

from molequi.errors import NotConvergedError, RunInterruptedError, UserError


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1  # a check failed, or some inputs failed; the good ones are written
    USAGE = 2  # wrong input or usage; nothing is written
    NOT_CONVERGED = 3  # or stopped by a physics guard; frames are kept
    INTERNAL = 70
    INTERRUPTED = 75  # saved and resumable
    CTRL_C = 130


def explain(error: BaseException, *, debug: bool) -> tuple[ExitCode, str]:
    """Return the exit code of an error and the line for the user.

    An internal error's traceback is shown with `debug`, and written to a file otherwise.
    """
    if isinstance(error, UserError):
        return ExitCode.USAGE, f"error: {_one_line(error)}"
    if isinstance(error, NotConvergedError):
        return ExitCode.NOT_CONVERGED, f"stopped: {_one_line(error)}"
    if isinstance(error, RunInterruptedError):
        code = ExitCode.CTRL_C if error.signal_number == signal.SIGINT else ExitCode.INTERRUPTED
        return code, f"interrupted: {_one_line(error)}"
    if (
        type(error).__name__ == "NoArgsIsHelpError"
    ):  # a group of commands without a command: the help has been printed, or is the message
        return ExitCode.USAGE, error.format_message()  # type: ignore[attr-defined]
    if hasattr(
        error, "format_message"
    ):  # typer's usage errors; their classes moved between its releases
        return ExitCode.USAGE, f"error: {_usage_line(error)}"
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        return ExitCode.CTRL_C, "stopped by Ctrl-C"
    if isinstance(error, OSError) and error.filename is not None:
        return ExitCode.USAGE, f"error: {error.filename}: {error.strerror}"
    return ExitCode.INTERNAL, _internal_line(error, debug=debug)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _usage_line(error: BaseException) -> str:
    """Word typer's message with the command it belongs to and where to read on."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "molequi"
    if hasattr(
        error, "possibilities"
    ):  # an unknown option, in some releases of typer a command too
        name = getattr(error, "option_name", None) or getattr(error, "command_name", None)
        known = (
            f"did you mean {' or '.join(sorted(error.possibilities))}?"
            if error.possibilities
            else f"`{command} --help` lists them"
        )
        what = "option" if str(name).startswith("-") else "command"
        return f"`{command}` has no {what} {name}; {known}"
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")  # type: ignore[attr-defined]
    return f"{message}; see `{command} --help`" if "Did you mean" not in message else message


def _internal_line(error: BaseException, *, debug: bool) -> str:
    what = f"internal error: {type(error).__name__}: {_one_line(error)}"
    text = "".join(traceback.format_exception(error))
    if debug:
        sys.stderr.write(text)
        return what
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="molequi-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"molequi {' '.join(sys.argv[1:])}\n{text}")
    except OSError:
        return f"{what} (run again with --debug for the traceback)"
    return f"{what} (traceback in {Path(file.name)}; --debug shows it)"
