"""Signals that ask a run to stop: noted, so that the run ends where it can be saved."""

from __future__ import annotations

import signal
import threading
import time
from types import MethodType
from typing import Any

from molequi.runtime.files import TERMINATING

_STOPPING = (signal.SIGINT, *TERMINATING)
# A terminal sends Ctrl-C to every process of a run, and a parent passes it on: within a second, two
# are one.
_SAME_REQUEST = 1.0


class SignalWatch:
    """Takes over SIGINT, SIGTERM and SIGHUP between `start` and `stop`, or as a context manager.

    Does nothing outside the main thread. A signal that is ignored, as SIGHUP is under nohup, stays
    so. What came within a watch that stands in another one, the other knows from its end on: a
    request that is too late for one step of a run is not for the next.

    number: the first signal that came, 0 before. A second Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self.number = 0
        self._noted_at = 0.0
        self._handlers: dict[int, Any] = {}

    @property
    def name(self) -> str:
        """The first signal's name, such as SIGTERM. Raises ValueError before there was one."""
        return signal.Signals(self.number).name

    def start(self) -> None:
        """Note signals from now on."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {
                number: signal.signal(number, self._note)
                for number in _STOPPING
                if signal.getsignal(number) is not signal.SIG_IGN
            }

    def stop(self) -> None:
        """Give the signals back, but those that somebody else took over or gave back meanwhile."""
        for number, handler in self._handlers.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        before = self._handlers.get(self.number)
        self._handlers = {}
        if isinstance(before, MethodType) and isinstance(outer := before.__self__, SignalWatch):
            outer._hear(self)

    def __enter__(self) -> SignalWatch:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _hear(self, inner: SignalWatch) -> None:
        if not self.number:
            self.number, self._noted_at = inner.number, inner._noted_at

    def _note(self, number: int, _frame: Any) -> None:
        if not self.number:
            self.number, self._noted_at = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._noted_at > _SAME_REQUEST:
            raise KeyboardInterrupt
