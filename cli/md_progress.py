"""How far and how fast dynamics are: a bar on a terminal, a line a minute in the log of a job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from molequi.cli import bars
from molequi.cli.output import STDERR, say

if TYPE_CHECKING:
    from molequi.simulation.md_settings import MDSettings

_NS_PER_DAY = 86400.0 * 1e-6  # of fs per second


class Pace:
    """Simulated ns a day, from the first call of `at` on.

    fs_per_step: of all structures that are counted together.
    """

    def __init__(self, fs_per_step: float) -> None:
        self._fs_per_step = fs_per_step
        self._first: tuple[int, float] | None = None

    def at(self, step: int) -> float | None:
        """Return the ns a day up to this step; None before one is made."""
        now = time.monotonic()
        if self._first is None:
            self._first = (step, now)
        start, began = self._first
        if step <= start or now <= began:
            return None
        return (step - start) * self._fs_per_step / (now - began) * _NS_PER_DAY


def in_words(ns_per_day: float | None) -> str:
    """Return a pace as it is printed; nothing where there is none."""
    return "" if ns_per_day is None else f"{ns_per_day:.3g} ns/day"


class StepsBar:
    """Steps made, the pace in ns a day of all structures together, and the time left.

    ns_per_day: up to the last call; None before a step is made.
    """

    def __init__(self, settings: MDSettings, n_structures: int) -> None:
        from rich import progress

        self.ns_per_day: float | None = None
        self._how = settings.how
        self._pace = Pace(settings.timestep * n_structures)
        self._left, self._said = bars.TimeLeft(), time.monotonic()
        self._bar = progress.Progress(
            *progress.Progress.get_default_columns(),
            progress.TextColumn("{task.fields[pace]}"),
            console=STDERR,
            transient=True,
            disable=not STDERR.is_terminal,
        )
        what = f"{settings.how} {settings.steps} steps"
        self._task = self._bar.add_task(what, total=settings.steps, pace="")

    def show(self, step: int, steps: int, _atoms: object) -> None:
        """Show how far the run is; the pace counts from the first call on."""
        self.ns_per_day = self._pace.at(step)
        pace, left, now = in_words(self.ns_per_day), self._left.at(step, steps), time.monotonic()
        if not STDERR.is_terminal and now - self._said > bars.EVERY:
            self._said = now
            told = (f"{self._how}, {step} of {steps} steps", pace, left)
            say(", ".join(text for text in told if text))
        self._bar.update(self._task, completed=step, pace=pace)

    def __enter__(self) -> StepsBar:
        self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bar.stop()
