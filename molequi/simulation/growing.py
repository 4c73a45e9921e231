"""Files that grow while a simulation runs, and can be taken back to where a saved state ends."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ase.io
from ase import Atoms
from ase.io.extxyz import write_xyz

from molequi.errors import UserError
from molequi.runtime.locks import lock
from molequi.structures.text import count_in

# An Ulm file begins with its kind, and with where its items are.
_ULM_HEAD = 48


class Growing:
    """A file that is appended to by this run alone. Its mark is the number of its bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: io.BufferedRandom | None = None

    def begin(self) -> None:
        """Open the file, empty."""
        file = self._open("a+b")
        file.truncate(0)
        file.seek(0)

    def lock(self) -> None:
        """Open a file that is there, and let no other run write to it. Raises UserError."""
        self._open("r+b")

    def rewind(self, mark: Any) -> None:
        """Open the file and forget what came after the mark.

        Raises UserError where it is shorter.
        """
        file = self._file or self._open("r+b")
        if self.path.stat().st_size < mark:
            raise UserError(
                f"{self.path} is shorter than when its state was saved; start again with "
                "--overwrite"
            )
        file.truncate(mark)
        file.seek(mark)

    def mark(self) -> Any:
        """Return plain values that say where the file ends."""
        return self.file.tell()

    @property
    def file(self) -> io.BufferedRandom:
        """The open file. Raises ValueError before it is opened."""
        if self._file is None:
            raise ValueError(f"{self.path} is not open")
        return self._file

    def append(self, text: str) -> None:
        """Write at the end."""
        try:
            self.file.write(text.encode())
            self.file.flush()
        except OSError as error:  # which does not know the name
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def sync(self) -> None:
        """Let what was written reach the disk."""
        os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file, where it is open."""
        if self._file is not None:
            self._file.close()

    def _open(self, mode: str) -> io.BufferedRandom:
        """Open the file for this run alone."""
        file = self.path.open(mode)
        try:
            lock(file.fileno(), self.path)
        except UserError:
            file.close()
            raise
        self._file = file  # type: ignore[assignment]
        return self.file


class XyzFrames(Growing):
    """Frames in an extended XYZ file."""

    def write(self, frames: Sequence[Atoms]) -> None:
        """Append frames."""
        text = io.StringIO()
        for frame in frames:
            write_xyz(text, frame)
        self.append(text.getvalue())

    def rewind_short(self) -> _Frames:
        """Cut a file that is shorter than its mark after its last whole frame."""
        found = _whole_frames(self._file or self._open("r+b"))
        self.file.truncate(found.n_bytes)
        self.file.seek(found.n_bytes)
        return found


class TrajFrames(Growing):
    """Frames in a .traj file of ASE, which writes where its items are into its beginning.

    Its mark is the number of bytes and that beginning.
    """

    def write(self, frames: Sequence[Atoms]) -> None:
        """Append frames."""
        with ase.io.Trajectory(str(self.path), "a") as file:
            for frame in frames:
                file.write(frame)

    def mark(self) -> Any:
        """Return where the file ends, and how it begins."""
        with self.path.open("rb") as file:  # as it is on the disk: ASE has its own opening of it
            head = file.read(_ULM_HEAD)
        return [self.path.stat().st_size, head.hex()]

    def rewind(self, mark: Any) -> None:
        """Open the file and forget what came after the mark."""
        n_bytes, head = mark
        super().rewind(n_bytes)
        self.file.seek(0)
        self.file.write(bytes.fromhex(head))
        self.file.flush()


class _Frames(NamedTuple):
    """Whole frames of a file, and where they end."""

    n_frames: int
    n_bytes: int


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
