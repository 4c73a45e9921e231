"""What the command line prints: tables and JSON on stdout, logs and progress on stderr."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

# A table that is piped into a file must not be folded at 80 columns.
_PIPE_WIDTH = 220


# One console for everything on stderr, so that log lines pass above a live progress bar.
STDERR = Console(stderr=True, highlight=False)


def stdout() -> Console:
    """Return a console on stdout, as wide as its terminal."""
    return Console(
        file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False
    )


def say(text: str) -> None:
    """Print a line for people on stderr."""
    STDERR.print(_as_it_stands(text), soft_wrap=True)


def line(text: str) -> None:
    """Print a line of the result on stdout."""
    stdout().print(_as_it_stands(text), soft_wrap=True)


def line_of_files(output: object, written: str, lost: str) -> None:
    """Print which files are in the folder `output`, or what is lost where there is none."""
    if output is None:
        line(f"{lost} not kept; give --output FOLDER")
    else:
        line(f"written to {output}: {written}")


def _as_it_stands(text: str) -> Text:
    """Return a text without markup, and without characters that a terminal would obey."""
    from molequi.runtime.gate import printable

    return Text(printable(text))


class _ConsoleHandler(logging.Handler):
    """Writes records one line each.

    Tables in the log are for log.txt, the command prints its own.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if "\n" in record.getMessage():
            return
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(prefix + self.format(record))


def start_logging(level: int = logging.WARNING) -> None:
    """Send the library's log to stderr, from `level` up."""
    logger = logging.getLogger("molequi")
    logger.handlers = [_ConsoleHandler()]
    logger.setLevel(level)
    logger.propagate = False


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    left: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> None:
    """Print rows under their headings.

    Columns are set right, except the first and those named in `left`; those in `hidden` are left
    out.
    """
    table = Table(
        title=_as_it_stands(title) if title else None,
        box=SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        title_style="bold",
    )
    shown = [position for position, column in enumerate(columns) if column not in hidden]
    for position in shown:
        is_left = position == 0 or columns[position] in left
        table.add_column(
            _as_it_stands(columns[position]),
            justify="left" if is_left else "right",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(_as_it_stands(format_value(row[position])) for position in shown))
    stdout().print(table)


def format_value(value: object, digits: int = 4) -> str:
    """Write a table's cell: `-` for nothing, numbers with `digits` decimals.

    Where these would show nothing, numbers are written with a power of ten.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if not math.isfinite(value):
        return "-"
    small = value != 0 and abs(value) < 10.0 ** (1 - digits)
    return f"{value:.2e}" if small or abs(value) >= 1e7 else f"{value:.{digits}f}"


def print_json(document: object) -> None:
    """Print one JSON document on stdout; non-finite numbers become null."""
    from molequi.runtime.plain import json_text

    sys.stdout.write(json_text(document))
