"""How long a run has trained, over all its interruptions."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Counts the seconds of a run on from what it has spent before.

    now: any clock that only moves forward, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._started, self._before = now(), 0.0

    def start(self, before: float) -> None:
        """Begin to count. before: seconds that the run has spent already."""
        self._started, self._before = self._now(), before

    def seconds(self) -> float:
        """Return the seconds of the run up to now."""
        return self._before + self._now() - self._started
