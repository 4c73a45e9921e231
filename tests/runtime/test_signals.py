"""Signals that ask a run to stop are noted, once."""

from __future__ import annotations

import signal
import threading

import pytest

from molequi.runtime import signals
from molequi.runtime.signals import SignalWatch


def test_signals_are_noted_and_given_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with SignalWatch() as watch:
        assert watch.number == 0
        signal.raise_signal(signal.SIGTERM)
        assert watch.number == signal.SIGTERM
        # The same request, passed on by a parent process.
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert watch.number == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_second_ctrl_c_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_SAME_REQUEST", 0.0)
    with SignalWatch() as watch:
        signal.raise_signal(signal.SIGINT)
        assert watch.number == signal.SIGINT
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_request_within_a_step_is_known_to_the_run_around_it() -> None:
    with SignalWatch() as run:
        with SignalWatch() as step:
            signal.raise_signal(signal.SIGTERM)
            assert (run.number, step.number) == (0, signal.SIGTERM)
        assert run.number == signal.SIGTERM
        with SignalWatch():
            signal.raise_signal(signal.SIGINT)
        assert run.number == signal.SIGTERM, "the first one counts"
    with SignalWatch() as next_run:
        pass
    assert next_run.number == 0


def test_other_threads_leave_signals_alone() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with SignalWatch():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_closed_terminal_stops_a_run_unless_it_was_started_with_nohup() -> None:
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with SignalWatch() as watch:
            signal.raise_signal(signal.SIGHUP)
        assert watch.number == signal.SIGHUP
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with SignalWatch() as watch:
            signal.raise_signal(signal.SIGHUP)
        assert watch.number == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_that_another_took_over_or_gave_back_are_left_to_it():
    before = signal.getsignal(signal.SIGTERM)
    watch = SignalWatch()
    watch.start()
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        watch.stop()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
