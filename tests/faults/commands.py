"""Command lines in processes of their own, which a fault may end at any moment.

The processes are forked from a server that has imported everything already, so that one costs
tenths of a second instead of five.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from molequi.cli.main import main

_IMPORTED = (
    "pytest",
    "commands",
    "ase.optimize",
    "matplotlib.pyplot",
    "molequi.cli.progress",
    "molequi.datasets.catalog",
    "molequi.experiments",
    "molequi.labeling.run",
    "molequi.simulation.boltzmann",
    "molequi.simulation.barrier",
    "molequi.simulation.md",
    "molequi.simulation.scan",
    "molequi.simulation.vibrations",
    "molequi.training.fit",
)
_TIMEOUT = 120.0
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod"}


class Fault(Protocol):
    """What happens to a process, prepared in it before the command begins."""

    def arm(self, folder: Path) -> None:
        """Prepare it; `folder` is where the command runs."""


class AtChange(NamedTuple):
    """A signal just before a change of the folder: a file opened to write, renamed, removed, ...

    It comes again before the next change, when the process is tidying up. count: of the changes
    before the first.
    """

    number: int
    count: int

    def arm(self, folder: Path) -> None:
        """Count the changes."""

        def happen(count: int) -> None:
            if count in (self.count, self.count + 1):
                os.kill(os.getpid(), self.number)

        count_changes(folder, happen)


class AfterSeconds(NamedTuple):
    """A signal after so many seconds, of the processor's work or of the clock on the wall."""

    number: int
    seconds: float
    on_wall: bool = False

    def arm(self, folder: Path) -> None:
        """Start the clock. To be killed nobody is asked: the timer's own signal ends a process."""
        timer, alarm = (
            (signal.ITIMER_REAL, signal.SIGALRM)
            if self.on_wall
            else (signal.ITIMER_PROF, signal.SIGPROF)
        )
        if self.number != signal.SIGKILL:
            signal.signal(alarm, lambda *_: os.kill(os.getpid(), self.number))
        signal.setitimer(timer, max(self.seconds, 1e-3))


class InsideWrite(NamedTuple):
    """Killed while a file is written: so many bytes of it are on the disk, and no more."""

    n_bytes: int

    def arm(self, folder: Path) -> None:
        """Let the system end the process at the first byte too many."""
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.n_bytes, self.n_bytes))


class NoRoom(NamedTuple):
    """No file may have more bytes, as on a full disk or over a quota."""

    n_bytes: int

    def arm(self, folder: Path) -> None:
        """Let the system refuse every byte more; Python ignores the signal."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.n_bytes, self.n_bytes))


class Vanishing(NamedTuple):
    """A file that is removed just before it is opened for the n-th time, counted from 0."""

    name: str
    count: int

    def arm(self, folder: Path) -> None:
        """Watch the file."""
        path, seen = folder / self.name, [0]

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open" and isinstance(arguments[0], str | os.PathLike):
                if os.path.abspath(arguments[0]) == str(path):
                    if seen[0] == self.count:
                        path.unlink(missing_ok=True)
                    seen[0] += 1

        sys.addaudithook(watch)


def count_changes(folder: Path, happen: Callable[[int], None]) -> None:
    """Call `happen` with the count before every change of a folder, from now on."""
    count = [0]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        is_change = event in _CHANGES or (event == "open" and arguments[2] & _WRITING)
        if is_change and isinstance(arguments[0], str | os.PathLike):
            if os.path.abspath(arguments[0]).startswith(str(folder)):
                count[0] += 1
                happen(count[0] - 1)

    sys.addaudithook(watch)


class Ending(NamedTuple):
    """How a command ended. code: minus the signal that ended it, as for subprocesses."""

    code: int
    text: str

    @property
    def last_line(self) -> str:
        """What it said last."""
        return (self.text.strip().splitlines() or [""])[-1]


class Work(NamedTuple):
    """What a whole run does, from which moments are chosen."""

    cpu_seconds: float
    wall_seconds: float
    n_changes: int


class Command:
    """A `molequi` command that runs in `folder`.

    arguments: after the word molequi. settings: values of modules, such as the seconds between two
    saves, that let a small run take many steps.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        fault: Fault | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_IMPORTED))
        self._work, work = context.Pipe(duplex=False)
        self._printed, printed = context.Pipe(duplex=False)
        self.process: BaseProcess = context.Process(
            target=_run, args=(list(arguments), folder, printed, work, fault, dict(settings or {}))
        )
        self.process.start()
        printed.close()
        work.close()

    def wait(self) -> Ending:
        """Wait for its end."""
        parts, deadline = [b"?"], time.monotonic() + _TIMEOUT
        while parts[-1]:
            if not self._printed.poll(max(0.0, deadline - time.monotonic())):
                self.process.kill()
                raise TimeoutError(f"it runs for more than {_TIMEOUT} s: {b''.join(parts[1:])!r}")
            parts.append(os.read(self._printed.fileno(), 1 << 16))
        self._printed.close()
        self.process.join(_TIMEOUT)
        return Ending(self.process.exitcode, b"".join(parts[1:]).decode(errors="replace"))

    def work(self) -> Work:
        """Return what it did, where no fault ended it."""
        return Work(*self._work.recv())


def _run(
    arguments: list[str],
    folder: Path,
    printed: Connection,
    work: Connection,
    fault: Fault | None,
    settings: dict[str, Any],
) -> None:
    """Be the process: run the command and exit with its code."""
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(printed.fileno(), stream)
    printed.close()
    sys.stdout, sys.stderr = (
        open(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2)
    )
    for place, value in settings.items():
        module, _, name = place.rpartition(".")
        setattr(importlib.import_module(module), name, value)
    sys.argv = ["molequi", *arguments]
    if fault is not None:
        fault.arm(folder)
        main()
    changes = [0]
    count_changes(folder, lambda count: changes.__setitem__(0, count + 1))
    started = time.process_time(), time.monotonic()
    try:
        main()
    finally:
        work.send((time.process_time() - started[0], time.monotonic() - started[1], changes[0]))
