"""How dynamics are run: ensemble, thermostat, pressure, ramps, constraints, limits."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from molequi.errors import UserError

ENSEMBLES = ("nve", "nvt", "npt")
THERMOSTATS = ("langevin", "nose-hoover", "bussi")
CELLS = ("isotropic", "full")


class _Positive(NamedTuple):
    """A setting that must be a positive number, and its unit."""

    name: str
    unit: str


_POSITIVE = (
    _Positive("timestep", "fs"),
    _Positive("friction", "1/fs"),
    _Positive("thermostat_time", "fs"),
    _Positive("barostat_time", "fs"),
)
# Of friction times timestep, x: half a step takes x/2 - x²/8 of a velocity, which falls from 2 on
# and from 4 on adds to it; ASE's Langevin is an expansion in x.
_LARGEST_FRICTION = 2.0


@dataclasses.dataclass(frozen=True)
class MDSettings:
    """How to run.

    ensemble: `nve`, `nvt` or `npt`. temperature: K, of the initial velocities and of the
    thermostat; None keeps the velocities that the structure has, as keep_velocities does with a
    thermostat too. A relaxed structure run as `nve`
    ends near half of it, because vibrations share their energy with the bonds. timestep: fs.
    steps: in all, those before a restart included. interval: steps between frames. friction: 1/fs,
    of Langevin. seed: of the first structure; the next ones have seed + 1, seed + 2, ...
    max_stretch: a bond longer than this times its covalent length stops the run; None watches no
    bonds.
    thermostat: of nvt, `langevin`, `nose-hoover` (a chain of three) or `bussi`; npt has chains for
    atoms and cell. thermostat_time, barostat_time: fs, of these and of Bussi. pressure: bar. cell:
    what of it moves, `isotropic` its size, `full` all nine numbers.
    ramp: (K, ps) points, straight lines between them, instead of one temperature of the thermostat
    and of the first velocities.
    constrain: `x-h` keeps the lengths of bonds of hydrogen; `0,3-5` holds these atoms, 0-based.
    max_doubt: eV/Å; a larger `forces_std` of an atom stops the run.
    """

    ensemble: str = "nve"
    temperature: float | None = 300.0
    timestep: float = 0.5
    steps: int = 1000
    interval: int = 10
    friction: float = 0.01
    seed: int = 0
    max_stretch: float | None = 1.75
    thermostat: str = "langevin"
    thermostat_time: float = 100.0
    pressure: float = 1.0
    barostat_time: float = 1000.0
    cell: str = "isotropic"
    ramp: tuple[tuple[float, float], ...] = ()
    constrain: tuple[str, ...] = ()
    max_doubt: float | None = None
    keep_velocities: bool = False

    def __post_init__(self) -> None:
        _require(self.ensemble, ENSEMBLES, "ensemble")
        _require(self.thermostat, THERMOSTATS, "thermostat")
        _require(self.cell, CELLS, "cell")
        for name, unit in _POSITIVE:
            value = dataclasses.asdict(self)[name]
            if not 0.0 < value < np.inf:
                raise UserError(f"{name} is {value} {unit}; it must be positive")
        if self.steps < 0 or self.interval < 1:
            raise UserError(
                f"steps is {self.steps} and interval {self.interval}; steps must be at least 0, "
                "interval at least 1"
            )
        if not np.isfinite(self.pressure):
            raise UserError(f"pressure is {self.pressure} bar; it must be a number")
        if self.max_doubt is not None and not self.max_doubt > 0:
            raise UserError(f"max_doubt is {self.max_doubt} eV/Å; it must be positive")
        _check_temperature(self)
        _check_friction(self)
        _check_ramp(self)

    @property
    def has_thermostat(self) -> bool:
        """Whether something holds the temperature."""
        return self.ensemble != "nve"

    @property
    def first_temperature(self) -> float | None:
        """Return the temperature of new velocities, K; None where those of the structure stay."""
        if self.keep_velocities or self.temperature is None:
            return None
        return self.target(0)

    @property
    def relaxation_time(self) -> float:
        """Return the time, fs, in which a thermostat forgets: of Langevin 1 / friction."""
        return 1.0 / self.friction if self.how == "langevin" else self.thermostat_time

    @property
    def how(self) -> str:
        """Who moves the atoms: `nve`, a thermostat, or `npt`."""
        return self.thermostat if self.ensemble == "nvt" else self.ensemble

    def target(self, step: int) -> float:
        """Return the temperature of the thermostat at a step, K."""
        if not self.ramp:
            return float(self.temperature or 0.0)
        kelvin, picoseconds = zip(*self.ramp, strict=True)
        return float(np.interp(step * self.timestep / 1000.0, picoseconds, kelvin))


def _require(value: str, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        raise UserError(f"{name} {value!r} is not available; choose {' or '.join(known)}")


def _check_temperature(settings: MDSettings) -> None:
    temperature, how = settings.temperature, settings.how
    if temperature is None and settings.has_thermostat:
        raise UserError(f"{settings.ensemble} needs a temperature in K for its thermostat")
    if temperature is not None and not 0 <= temperature < np.inf:
        raise UserError(f"temperature is {temperature} K; it must be a number, at least 0")
    if how in {"nose-hoover", "bussi", "npt"} and not temperature:
        raise UserError(
            f"{how} scales velocities and cannot run at 0 K; give a temperature, or langevin"
        )


def _check_friction(settings: MDSettings) -> None:
    product = settings.friction * settings.timestep
    if settings.how == "langevin" and product > _LARGEST_FRICTION:
        raise UserError(
            f"friction is {settings.friction:g} 1/fs, {product:g} with the timestep of "
            f"{settings.timestep:g} fs: steps of Langevin dynamics need a product of at most "
            f"{_LARGEST_FRICTION:g}; usual are 0.001 to 0.1 1/fs"
        )


def _check_ramp(settings: MDSettings) -> None:
    if not settings.ramp:
        return
    if not settings.has_thermostat:
        raise UserError("a ramp needs a thermostat; nve has none, choose nvt or npt")
    numbers = np.array(settings.ramp, dtype=np.float64)
    times = numbers[:, 1]
    is_good = np.isfinite(numbers).all() and (numbers[:, 0] > 0).all() and times[0] >= 0
    if not (is_good and (np.diff(times) > 0).all()):
        points = ", ".join(f"{kelvin:g} K at {time:g} ps" for kelvin, time in settings.ramp)
        raise UserError(f"the ramp is {points}; it needs positive temperatures at ascending times")
