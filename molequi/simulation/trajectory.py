"""What a simulation leaves behind.

Frames on disk, and beside them the state to go on from exactly.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz

from molequi.errors import UserError
from molequi.runtime.files import check_output
from molequi.runtime.locks import lock
from molequi.simulation.state import State, read_state, write_state
from molequi.structures.text import count_in

logger = logging.getLogger(__name__)

# Saving takes milliseconds, and a simulation that is killed can do one second's work again.
SECONDS_BETWEEN_SAVES = 1.0


class _Frames(NamedTuple):
    """Whole frames of a file, and where they end."""

    n_frames: int
    n_bytes: int


class Trajectory:
    """An extended XYZ file that grows frame by frame, and beside it a state to go on from.

    The state is never more than a second or a frame old.

    path: None keeps nothing. identity: plain values that must agree when the simulation is
    continued (atoms, model, settings). Use as a context manager.
    """

    def __init__(self, path: str | os.PathLike[str] | None, identity: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.identity = identity
        self._file: io.BufferedRandom | None = None
        self._saved_at = -np.inf

    @property
    def state_path(self) -> Path:
        """The file that holds the state. Raises ValueError for a trajectory that is not kept."""
        if self.path is None:
            raise ValueError("a trajectory that is not kept has no state")
        return self.path.with_name(f"{self.path.name}.restart")

    def start(self, state: State, *, overwrite: bool) -> None:
        """Begin an empty file, with the state before its first frame.

        Raises UserError where another file is in the way.
        """
        if self.path is None:
            return
        if self.path.suffix.lower() not in {".xyz", ".extxyz"}:
            raise UserError(
                f"the trajectory {self.path} must end in .xyz or .extxyz; convert it afterwards "
                "with `ase convert`"
            )
        check_output(
            self.path,
            overwrite=overwrite,
            remedy="give --restart to continue it, --overwrite to replace it, or another name",
        )
        self._file = self._opened(self.path, "a+b")
        self.state_path.unlink(missing_ok=True)
        self._file.truncate(0)
        self.save(state)

    def resume(self) -> State:
        """Open the file at the last saved state and return that state.

        Raises UserError where there is none, or where it belongs to another simulation.
        """
        if self.path is None:
            raise UserError("--restart needs --output FILE, the trajectory to continue")
        if not (self.path.is_file() and self.state_path.is_file()):
            raise UserError(
                f"nothing to restart: {self.path} and {self.state_path.name} must both be there; "
                "leave --restart out to begin"
            )
        self._file = self._opened(self.path, "r+b")
        state, identity = read_state(self.state_path)
        self._check_identity(identity)
        if self.path.stat().st_size < state.n_bytes:
            n_before = state.n_frames
            state.n_frames, state.n_bytes = _whole_frames(self._file)
            logger.warning(
                "%s is shorter than when its state was saved: the last %d of %d frames are lost; "
                "the run goes on from step %d",
                self.path,
                n_before - state.n_frames,
                n_before,
                state.step,
            )
        # Frames after the state will come again.
        self._file.truncate(state.n_bytes)
        self._file.seek(state.n_bytes)
        return state

    def write(self, frame: Atoms, state: State) -> None:
        """Append a frame, then save the state where that is due.

        A crash in between loses nothing.
        """
        state.n_frames += 1
        if self._file is None:
            return
        text = io.StringIO()
        write_xyz(text, frame)
        try:
            self._file.write(text.getvalue().encode())
            self._file.flush()
        except OSError as error:  # which does not know the name
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        state.n_bytes = self._file.tell()
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self.save(state)

    def save(self, state: State) -> None:
        """Save the state, which may be later than the last frame.

        It counts the bytes of the frames, so that these are on the disk before.
        """
        if self._file is None:
            return
        os.fsync(self._file.fileno())
        write_state(self.state_path, state, self.identity)
        self._saved_at = time.monotonic()

    def __enter__(self) -> Trajectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        with contextlib.suppress(*([] if error is None else [OSError])):  # what failed fails again
            self._file.close()

    @staticmethod
    def _opened(path: Path, mode: Literal["a+b", "r+b"]) -> io.BufferedRandom:
        """Open the trajectory for this run alone."""
        file = path.open(mode)
        try:
            lock(file.fileno(), path)
        except UserError:
            file.close()
            raise
        return file

    def _check_identity(self, saved: dict[str, Any]) -> None:
        for name, value in self.identity.items():
            if saved.get(name) != value:
                raise UserError(
                    f"{self.path} was run with {name} {saved.get(name)}, now it is {value}; "
                    "restart with the same, or use another output"
                )


def _whole_frames(file: io.BufferedRandom) -> _Frames:
    """Count the frames of an extended XYZ file from its start, up to one that is cut off."""
    file.seek(0)
    n_frames = n_bytes = 0
    while (n_atoms := count_in(head := file.readline())) is not None:
        lines = [head, *itertools.islice(file, n_atoms + 1)]
        if len(lines) < n_atoms + 2 or not lines[-1].endswith(b"\n"):
            break
        n_frames, n_bytes = n_frames + 1, n_bytes + sum(map(len, lines))
    return _Frames(n_frames, n_bytes)
