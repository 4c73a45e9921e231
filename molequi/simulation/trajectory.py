"""What a simulation leaves behind.

Frames on disk, running statistics, and the state to go on from exactly.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.io.extxyz import write_xyz

from molequi.errors import UserError
from molequi.runtime.files import check_output, written_by_rename
from molequi.runtime.locks import lock

FORMAT = 1
# Saving takes milliseconds, and a simulation that is killed can do one second's work again.
SECONDS_BETWEEN_SAVES = 1.0


@dataclasses.dataclass
class Statistics:
    """Running mean temperature, K, and the straight line through the total energy.

    Energy (eV) against time (fs), by Welford's updates.
    """

    n: int = 0
    temperature_mean: float = 0.0
    time_mean: float = 0.0
    energy_mean: float = 0.0
    time_time: float = 0.0
    time_energy: float = 0.0

    def add(self, time: float, energy: float, temperature: float) -> None:
        """Take in one step."""
        self.n += 1
        from_mean = time - self.time_mean
        self.temperature_mean += (temperature - self.temperature_mean) / self.n
        self.time_mean += from_mean / self.n
        self.energy_mean += (energy - self.energy_mean) / self.n
        self.time_time += from_mean * (time - self.time_mean)
        self.time_energy += from_mean * (energy - self.energy_mean)

    @property
    def slope(self) -> float | None:
        """Slope of the total energy, eV/fs; None before there are three steps."""
        return self.time_energy / self.time_time if self.n > 2 and self.time_time > 0 else None


@dataclasses.dataclass
class State:
    """A moment of a simulation, complete to the last bit.

    positions: (N, 3), Å. momenta: (N, 3), ASE's units. first: positions of step 0.
    """

    step: int
    positions: np.ndarray
    momenta: np.ndarray
    first: np.ndarray
    random: Mapping[str, Any]
    statistics: Statistics
    n_frames: int = 0
    n_bytes: int = 0


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

    def start(self, *, overwrite: bool) -> None:
        """Begin an empty file.

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
        with np.load(self.state_path, allow_pickle=False) as arrays:
            texts = json.loads(str(arrays["json"]))
            state = State(
                texts["step"],
                arrays["positions"],
                arrays["momenta"],
                arrays["first"],
                texts["random"],
                Statistics(**texts["statistics"]),
                texts["n_frames"],
                texts["n_bytes"],
            )
        self._check_identity(texts["identity"])
        if self.path.stat().st_size < state.n_bytes:
            raise UserError(
                f"{self.path} is shorter than when its state was saved; it cannot be continued, "
                "start again with --overwrite"
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
        self._file.write(text.getvalue().encode())
        self._file.flush()
        state.n_bytes = self._file.tell()
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self.save(state)

    def save(self, state: State) -> None:
        """Save the state, which may be later than the last frame."""
        if self._file is None:
            return
        texts = {
            "format": FORMAT,
            "identity": self.identity,
            "step": state.step,
            "random": state.random,
            "n_frames": state.n_frames,
            "n_bytes": state.n_bytes,
            "statistics": dataclasses.asdict(state.statistics),
        }
        with written_by_rename(self.state_path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                json=json.dumps(texts),
                positions=state.positions,
                momenta=state.momenta,
                first=state.first,
            )
        self._saved_at = time.monotonic()

    def __enter__(self) -> Trajectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
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
