"""What a simulation leaves behind.

Frames and a log on disk, and beside them the state to go on from exactly.
"""

from __future__ import annotations

import contextlib
import csv
import io
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import UserError
from molequi.runtime.files import check_output
from molequi.simulation.growing import Growing, TrajFrames, XyzFrames
from molequi.simulation.state import State, read_state, write_state

logger = logging.getLogger(__name__)

# Saving takes milliseconds, and a simulation that is killed can do one second's work again.
SECONDS_BETWEEN_SAVES = 1.0
_KINDS: Mapping[str, type[XyzFrames] | type[TrajFrames]] = {
    ".xyz": XyzFrames,
    ".extxyz": XyzFrames,
    ".traj": TrajFrames,
}


class Trajectory:
    """Frames in an extended XYZ or .traj file, a log in CSV, and the state to go on from.

    The state is never more than a second or a frame old.

    path: None keeps nothing. identity: plain values that must agree when the simulation is
    continued (atoms, model, settings). Use as a context manager.
    """

    def __init__(self, path: str | os.PathLike[str] | None, identity: dict[str, Any]) -> None:
        self.path = None if path is None else Path(path)
        self.identity = identity
        self._frames: XyzFrames | TrajFrames | None = None
        self._log: Growing | None = None
        self._saved_at = -np.inf

    @property
    def state_path(self) -> Path:
        """The file that holds the state. Raises ValueError for a trajectory that is not kept."""
        return self._beside("restart")

    @property
    def log_path(self) -> Path:
        """The file that holds the log. Raises ValueError for a trajectory that is not kept."""
        return self._beside("csv")

    def _beside(self, kind: str) -> Path:
        if self.path is None:
            raise ValueError("a trajectory that is not kept has no other files")
        return self.path.with_name(f"{self.path.name}.{kind}")

    def start(self, state: State, *, overwrite: bool) -> None:
        """Begin empty files, with the state before the first frame.

        Raises UserError where another file is in the way.
        """
        if self.path is None:
            return
        kind = _KINDS.get(self.path.suffix.lower())
        if kind is None:
            raise UserError(
                f"the trajectory {self.path} must end in .xyz, .extxyz or .traj; convert it "
                "afterwards with `ase convert`"
            )
        remedy = "give --restart to continue it, --overwrite to replace it, or another name"
        for path in (self.path, self.log_path):
            check_output(path, overwrite=overwrite, remedy=remedy)
        self._frames, self._log = kind(self.path), Growing(self.log_path)
        self._frames.begin()
        self.state_path.unlink(missing_ok=True)
        self._log.begin()
        self.save(state)

    def resume(self) -> State:
        """Open the files at the last saved state and return that state.

        Raises UserError where there is none, or where it belongs to another simulation.
        """
        if self.path is None:
            raise UserError("--restart needs --output FILE, the trajectory to continue")
        if not (self.path.is_file() and self.state_path.is_file()):
            raise UserError(
                f"nothing to restart: {self.path} and {self.state_path.name} must both be there; "
                "leave --restart out to begin"
            )
        frames = _KINDS.get(self.path.suffix.lower(), XyzFrames)(self.path)
        self._frames, self._log = frames, Growing(self.log_path)
        # Locked before anything is read.
        frames.lock()
        state, identity = read_state(self.state_path)
        self._check_identity(identity)
        self._rewind_frames(frames, state)
        self._log.rewind(state.marks["log"])
        return state

    def _rewind_frames(self, frames: XyzFrames | TrajFrames, state: State) -> None:
        """Take back the frames after the state: they will come again."""
        mark, n_before = state.marks["frames"], state.n_frames
        if isinstance(frames, TrajFrames) or frames.path.stat().st_size >= mark:
            frames.rewind(mark)
            return
        state.n_frames = frames.rewind_short().n_frames
        if len(state.each) == 1:
            state.each[0].n_frames = state.n_frames
        logger.warning(
            "%s is shorter than when its state was saved: the last %d of %d frames are lost; the "
            "run goes on from step %d",
            frames.path,
            n_before - state.n_frames,
            n_before,
            state.step,
        )

    def write(
        self, frames: Sequence[Atoms], rows: Sequence[Mapping[str, Any]], state: State
    ) -> None:
        """Append frames and the rows of the log, then save the state where that is due.

        A crash in between loses nothing.
        """
        state.n_frames += len(frames)
        if self._frames is None or self._log is None:
            return
        self._frames.write(frames)
        self._log.append(_table(rows, with_heading=self._log.file.tell() == 0))
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self.save(state)

    @property
    def is_kept(self) -> bool:
        """Whether anything is written."""
        return self.path is not None

    def save(self, state: State) -> None:
        """Save the state, which may be later than the last frame.

        It says where the files end, so that these are on the disk before.
        """
        if self._frames is None or self._log is None:
            return
        self._frames.sync()
        self._log.sync()
        state.marks = {"frames": self._frames.mark(), "log": self._log.mark()}
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
        with contextlib.suppress(*([] if error is None else [OSError])):  # what failed fails again
            for file in (self._frames, self._log):
                if file is not None:
                    file.close()

    def _check_identity(self, saved: dict[str, Any]) -> None:
        for name, value in self.identity.items():
            # A state of an earlier version says less.
            if name in saved and saved[name] != value:
                raise UserError(
                    f"{self.path} was run with {name} {saved[name]}, now it is {value}; "
                    "restart with the same, or use another output"
                )


def _table(rows: Sequence[Mapping[str, Any]], *, with_heading: bool) -> str:
    """Write rows as CSV; numbers to the last bit."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        if with_heading:
            writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
