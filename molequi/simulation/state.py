"""A moment of a simulation: running statistics, and all that is needed to go on to the last bit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from molequi.datasets.array_files import load_arrays, real_numbers
from molequi.errors import UserError
from molequi.runtime.files import written_by_rename
from molequi.runtime.gate import reading
from molequi.runtime.plain import parse_json

FORMAT = 2
_MOST = 1 << 62  # of steps, frames and bytes
_OF_MOVER = "mover_"


@dataclasses.dataclass
class Statistics:
    """Running mean and spread of the temperature, K, and the straight line through the energy.

    Energy (eV) against time (fs), by Welford's updates. largest_doubt: eV/Å, of a force; zero of a
    model that does not know its errors.
    """

    n: int = 0
    temperature_mean: float = 0.0
    temperature_square: float = 0.0
    time_mean: float = 0.0
    energy_mean: float = 0.0
    time_time: float = 0.0
    time_energy: float = 0.0
    largest_doubt: float = 0.0

    def add(self, time: float, energy: float, temperature: float, doubt: float = 0.0) -> None:
        """Take in one step."""
        self.largest_doubt = max(self.largest_doubt, doubt)
        self.n += 1
        from_mean, hotter = time - self.time_mean, temperature - self.temperature_mean
        self.temperature_mean += hotter / self.n
        self.temperature_square += hotter * (temperature - self.temperature_mean)
        self.time_mean += from_mean / self.n
        self.energy_mean += (energy - self.energy_mean) / self.n
        self.time_time += from_mean * (time - self.time_mean)
        self.time_energy += from_mean * (energy - self.energy_mean)

    @property
    def slope(self) -> float | None:
        """Slope of the total energy, eV/fs; None before there are three steps."""
        return self.time_energy / self.time_time if self.n > 2 and self.time_time > 0 else None

    @property
    def temperature_std(self) -> float | None:
        """Standard deviation of the temperature, K; None before there are two steps."""
        return float(np.sqrt(self.temperature_square / (self.n - 1))) if self.n > 1 else None


@dataclasses.dataclass
class OfOne:
    """What is known of each structure by itself.

    random: the state of its generator. stopped: why it stopped, None while it moves. steps: made.
    n_frames: written.
    """

    random: Mapping[str, Any]
    statistics: Statistics = dataclasses.field(default_factory=Statistics)
    stopped: str | None = None
    steps: int = 0
    n_frames: int = 0


@dataclasses.dataclass
class State:
    """A moment of a simulation of B structures with N atoms, complete to the last bit.

    positions: (N, 3), Å. momenta: (N, 3), ASE's units. first: positions of step 0. each: (B,).
    mover: what the integrator must know beside, arrays (B, ...). marks: where the files end.
    """

    step: int
    positions: np.ndarray
    momenta: np.ndarray
    first: np.ndarray
    each: list[OfOne]
    mover: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    n_frames: int = 0
    marks: dict[str, Any] = dataclasses.field(default_factory=dict)


def write_state(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write a state by rename, with the identity of its simulation: plain values."""
    texts = {
        "format": FORMAT,
        "identity": identity,
        "step": state.step,
        "each": [dataclasses.asdict(one) for one in state.each],
        "n_frames": state.n_frames,
        "marks": state.marks,
    }
    of_mover: dict[str, Any] = {_OF_MOVER + name: array for name, array in state.mover.items()}
    with written_by_rename(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            json=json.dumps(texts),
            positions=state.positions,
            momenta=state.momenta,
            first=state.first,
            **of_mover,
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
        _refuse_another_format(path, texts["format"])
        positions, momenta, first = (
            real_numbers(arrays, name) for name in ("positions", "momenta", "first")
        )
        mover = {
            name.removeprefix(_OF_MOVER): real_numbers(arrays, name)
            for name in arrays
            if name.startswith(_OF_MOVER)
        }
        each = [
            OfOne(**{**one, "statistics": Statistics(**one["statistics"])}) for one in texts["each"]
        ]
        state = State(
            texts["step"], positions, momenta, first, each, mover, texts["n_frames"],
            dict(texts["marks"]),
        )  # fmt: skip
        if not _is_possible(state):
            raise ValueError("its numbers make no state")
        return SavedState(state, dict(texts["identity"]))


def _refuse_another_format(path: Path, found: object) -> None:
    if found != FORMAT:
        raise UserError(
            f"{path} was written by another version of molequi (format {found}, this one reads "
            f"{FORMAT}); go on with that version, or start again with --overwrite"
        )


def _is_possible(state: State) -> bool:
    """Tell whether the numbers of a state are of their kinds and sizes."""
    places = [state.positions, state.momenta, state.first]
    marks = state.marks.values() if set(state.marks) == {"frames", "log"} else [-1]
    return bool(state.each) and all(
        [
            *(array.shape == (len(state.positions), 3) for array in places),
            bool(np.isfinite(places).all()),
            *(_is_finite_list(array, len(state.each)) for array in state.mover.values()),
            *map(_is_count, [state.step, state.n_frames]),
            *map(_is_mark, marks),
            *map(_is_possible_one, state.each),
        ]
    )


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_mark(mark: Any) -> bool:
    """Tell whether a mark is a number of bytes, or that and the beginning of a file."""
    n_bytes, head = mark if isinstance(mark, list) else (mark, "")
    return _is_count(n_bytes) and bytes.fromhex(head) is not None


def _is_finite_list(array: np.ndarray, length: int) -> bool:
    return array.shape[:1] == (length,) and bool(np.isfinite(array).all())


def _is_possible_one(one: OfOne) -> bool:
    generator: Any = np.random.PCG64()
    generator.state = one.random  # refuses what is none
    counts = [one.steps, one.n_frames, one.statistics.n]
    return (
        all(map(_is_count, counts))
        and (one.stopped is None or isinstance(one.stopped, str))
        and all(
            type(value) in (int, float) and np.isfinite(value)
            for value in dataclasses.astuple(one.statistics)[1:]
        )
    )
