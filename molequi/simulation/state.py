"""A moment of a simulation: running statistics, and all that is needed to go on to the last bit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from molequi.datasets.array_files import load_arrays, real_numbers
from molequi.runtime.files import written_by_rename
from molequi.runtime.gate import reading
from molequi.runtime.plain import parse_json

FORMAT = 1
_MOST = 1 << 62  # of steps, frames and bytes


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


def write_state(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write a state by rename, with the identity of its simulation: plain values."""
    texts = {
        "format": FORMAT,
        "identity": identity,
        "step": state.step,
        "random": state.random,
        "n_frames": state.n_frames,
        "n_bytes": state.n_bytes,
        "statistics": dataclasses.asdict(state.statistics),
    }
    with written_by_rename(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            json=json.dumps(texts),
            positions=state.positions,
            momenta=state.momenta,
            first=state.first,
        )


class SavedState(NamedTuple):
    """What a state file holds; the identity is that of the simulation it belongs to."""

    state: State
    identity: dict[str, Any]


def read_state(path: Path) -> SavedState:
    """Read what `write_state` wrote. Raises UserError for any other file."""
    with reading(path, "state of a simulation", "start again with --overwrite"):
        arrays = load_arrays(path)
        texts = parse_json(str(arrays["json"]))
        positions, momenta, first = (
            real_numbers(arrays, name) for name in ("positions", "momenta", "first")
        )
        state = State(
            texts["step"],
            positions,
            momenta,
            first,
            texts["random"],
            Statistics(**texts["statistics"]),
            texts["n_frames"],
            texts["n_bytes"],
        )
        generator: Any = np.random.PCG64()
        generator.state = state.random  # refuses what is none
        if texts["format"] != FORMAT or not _is_possible(state):
            raise ValueError("its numbers make no state")
        return SavedState(state, dict(texts["identity"]))


def _is_possible(state: State) -> bool:
    """Tell whether the numbers of a state are of their kinds and sizes."""
    places = [state.positions, state.momenta, state.first]
    counts = [state.step, state.n_frames, state.n_bytes, state.statistics.n]
    sums = list(dataclasses.astuple(state.statistics)[1:])
    return (
        all(array.shape == (len(state.positions), 3) for array in places)
        and bool(np.isfinite(places).all())
        and all(type(count) is int and 0 <= count < _MOST for count in counts)
        and all(type(value) in (int, float) and np.isfinite(value) for value in sums)
    )
