"""How far a command is that answers one structure after the other: a bar, or a line a minute."""

from __future__ import annotations

import time

from molequi.cli.output import STDERR, say

# Seconds between lines where stderr is a file, such as the log of a job, and shows no bar.
EVERY = 60.0


class TimeLeft:
    """The time that is left of a job, by its rate from the first call of `at` on."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def at(self, done: int, total: int | None) -> str:
        """Return it in words; nothing where it is not known, or nothing is left."""
        now = time.monotonic()
        if self._first is None:
            self._first = (done, now)
        start, began = self._first
        if total is None or not start < done < total or now <= began:
            return ""
        minutes, seconds = divmod(round((total - done) * (now - began) / (done - start)), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02} left"


class Bar:
    """Progress on stderr: a bar with the rate on a terminal, a line a minute elsewhere.

    what: the answers, in words for people, such as `labels`. shown: whether anything is, which one
    of several processes does.
    """

    def __init__(self, what: str, *, shown: bool = True) -> None:
        from rich import progress

        self._what, self._is_shown = what, shown
        self._bar = progress.Progress(
            progress.TextColumn(what),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.description}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=STDERR,
            transient=True,
            redirect_stdout=False,
            disable=not (shown and STDERR.is_terminal),
        )
        self._task, self._said = self._bar.add_task("", total=None), time.monotonic()
        self._first: tuple[int, float] | None = None
        self._left = TimeLeft()

    def show(self, done: int, total: int | None, failed: int = 0) -> None:
        """Show how far the run is; the rate counts from the first call on."""
        now = time.monotonic()
        if self._first is None:
            self._first = (done, now)
        left = self._left.at(done, total)
        if self._is_shown and not STDERR.is_terminal and now - self._said > EVERY:
            self._said = now
            known = "" if total is None else f" of {total}"
            told = f"{done}{known} {self._what}{self._rate(done, now)}, {failed} failed"
            say(f"{told}, {left}" if left else told)
        description = f"{self._rate(done, now)}{f', {failed} failed' if failed else ''}"
        self._bar.update(
            self._task, completed=done, total=total, description=description.removeprefix(", ")
        )

    def _rate(self, done: int, now: float) -> str:
        start, at = self._first or (0, now)
        return f", {(done - start) / (now - at):.3g}/s" if done > start and now > at else ""

    def pause(self) -> None:
        """Take the bar away while a table is printed; the next `resume` puts it back."""
        self._bar.stop()

    def resume(self) -> None:
        """Put the bar back."""
        self._bar.start()

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()
