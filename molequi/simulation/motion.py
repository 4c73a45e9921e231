"""A structure in motion: velocity Verlet (NVE) or Langevin (NVT), by ASE's integrators."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from molequi.errors import UserError
from molequi.prediction.records import labelled_atoms
from molequi.simulation.calculator import Calculator
from molequi.simulation.guard import Guard
from molequi.simulation.state import State, Statistics

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class MDSettings:
    """How to run.

    ensemble: `nve` or `nvt`. temperature: K, of the initial velocities and of the thermostat; None
    keeps the velocities that the structure has. A relaxed structure run as `nve` ends near half of
    it, because vibrations share their energy with the bonds. timestep: fs.
    steps: in all, those before a restart included. interval: steps between frames. friction: 1/fs,
    of the thermostat.
    max_stretch: a bond longer than this times its covalent length stops the run; None watches no
    bonds.
    """

    ensemble: str = "nve"
    temperature: float | None = 300.0
    timestep: float = 0.5
    steps: int = 1000
    interval: int = 10
    friction: float = 0.01
    seed: int = 0
    max_stretch: float | None = 1.75

    def __post_init__(self) -> None:
        if self.ensemble not in {"nve", "nvt"}:
            raise UserError(
                f"ensemble {self.ensemble!r} is not available; choose nve (velocity Verlet) or nvt "
                "(Langevin)"
            )
        if self.temperature is None and self.ensemble == "nvt":
            raise UserError("nvt needs a temperature in K for its thermostat")
        if self.temperature is not None and not 0 <= self.temperature < np.inf:
            raise UserError(f"temperature is {self.temperature} K; it must be a number, at least 0")
        for name, value, unit in (
            ("timestep", self.timestep, "fs"),
            ("friction", self.friction, "1/fs"),
        ):
            if not 0.0 < value < np.inf:
                raise UserError(f"{name} is {value} {unit}; it must be positive")
        if self.steps < 0 or self.interval < 1:
            raise UserError(
                f"steps is {self.steps} and interval {self.interval}; steps must be at least 0, "
                "interval at least 1"
            )


class Motion:
    """A structure in motion: where it is, what moves it, and what has been measured of it."""

    def __init__(self, atoms: Atoms, calculator: Calculator, settings: MDSettings) -> None:
        self.atoms, self.calculator, self.settings = atoms, calculator, settings
        self.constraints = list(atoms.constraints)
        atoms.calc = calculator
        self.random = np.random.Generator(np.random.PCG64(settings.seed))
        # The centre of mass stays where it is, unless atoms are held in place or there is nothing
        # else to move.
        self.is_free = not self.constraints and len(atoms) > 1
        n_removed = sum(constraint.get_removed_dof(atoms) for constraint in self.constraints) + (
            3 if self.is_free else 0
        )
        self.n_degrees = max(3 * len(atoms) - n_removed, 1)
        if settings.timestep > 1.0 and (atoms.numbers == 1).any():
            logger.warning(
                "a timestep of %g fs is long for molecules with hydrogen; 0.5 fs is usual",
                settings.timestep,
            )

    def identity(self) -> dict[str, Any]:
        """What must agree when the simulation is continued."""
        settings = dataclasses.asdict(self.settings)
        del settings["steps"]
        return {
            "atoms": self.atoms.get_chemical_formula(mode="reduce"),
            "cell": self.atoms.cell.array.tolist(),
            "pbc": self.atoms.pbc.tolist(),
            "model": self.calculator.model.metadata.name,
            "dtype": str(self.calculator.model.dtype),
            "charge and multiplicity": list(self.calculator.electrons(self.atoms)),
            **settings,
        }

    def begin(self) -> None:
        """Stand at step 0, with velocities from the Maxwell-Boltzmann distribution where asked.

        The motion of the whole is taken out.
        """
        atoms, temperature = self.atoms, self.settings.temperature
        if temperature is not None:
            width = np.sqrt(atoms.get_masses()[:, None] * units.kB * temperature)
            atoms.set_momenta(width * self.random.standard_normal((len(atoms), 3)))
        elif not atoms.has("momenta"):
            raise UserError("the structure has no velocities to keep; give a temperature in K")
        if self.is_free:
            masses = atoms.get_masses()[:, None]
            atoms.set_momenta(
                atoms.get_momenta() - masses * atoms.get_momenta().sum(axis=0) / masses.sum()
            )
        if temperature is not None and self.temperature() > 0:
            # Exactly the temperature asked for, whatever the few random numbers of a small molecule
            # gave.
            atoms.set_momenta(atoms.get_momenta() * np.sqrt(temperature / self.temperature()))
        self.state = State(
            0,
            atoms.positions,
            atoms.get_momenta(),
            atoms.get_positions(),
            self.random.bit_generator.state,
            Statistics(),
        )
        self._make_dynamics()

    def restore(self, state: State) -> None:
        """Stand where the saved state stood. Raises UserError where it is of other atoms."""
        if len(state.positions) != len(self.atoms):
            raise UserError(
                f"the saved state has {len(state.positions)} atoms, the structure "
                f"{len(self.atoms)}; start again with --overwrite"
            )
        self.state = state
        self.atoms.set_positions(state.positions, apply_constraint=False)
        self.atoms.set_momenta(state.momenta, apply_constraint=False)
        self.random.bit_generator.state = state.random
        self._make_dynamics()

    def advance(self) -> None:
        """Make one step."""
        self.dynamics.step()
        self.state.step += 1

    def measure(self) -> str | None:
        """Take this moment into the statistics, and return the guard's objection."""
        energy, forces = self.calculator.results["energy"], self.calculator.results["forces"]
        kinetic = self.atoms.get_kinetic_energy()
        temperature = self._in_kelvin(kinetic)
        problem = self.guard.problem(self.atoms, energy, forces, temperature)
        if problem is None:
            self.state.statistics.add(
                self.state.step * self.settings.timestep,
                float(energy + kinetic),
                float(temperature),
            )
        return problem

    def temperature(self) -> float:
        """Temperature of this moment, K; the motion of the whole is no degree of freedom."""
        return self._in_kelvin(self.atoms.get_kinetic_energy())

    def _in_kelvin(self, kinetic_energy: float) -> float:
        return 2.0 * kinetic_energy / (self.n_degrees * units.kB)

    def frame(self, stopped: str | None = None) -> Atoms:
        """Return this moment for a file."""
        labels = {
            "step": self.state.step,
            "time_fs": self.state.step * self.settings.timestep,
            "temperature": self.temperature(),
            "stopped": stopped,
            "model": self.calculator.model.metadata.name,
            "unsafe": self.calculator.unsafe_reason,
        }
        frame = labelled_atoms(
            self.calculator.model, self.atoms, self.calculator.predictions, labels,
            total_charge=self.calculator.electrons(self.atoms).charge,
        )  # fmt: skip
        frame.set_constraint(self.constraints)
        return frame

    def present(self) -> State:
        """Return the state of this moment, to be saved."""
        self.state.positions, self.state.momenta, self.state.random = (
            self.atoms.positions,
            self.atoms.get_momenta(),
            self.random.bit_generator.state,
        )
        return self.state

    def summary(self) -> dict[str, Any]:
        """Return the results so far."""
        statistics, n_atoms = self.state.statistics, max(len(self.atoms), 1)
        slope = statistics.slope if self.settings.ensemble == "nve" else None
        return {
            **self.calculator.labels(self.atoms),
            "ensemble": self.settings.ensemble,
            "timestep_fs": self.settings.timestep,
            "seed": self.settings.seed,
            "steps": self.state.step,
            "time_ps": self.state.step * self.settings.timestep / 1000.0,
            # eV/fs -> meV/ps
            "drift_mev_atom_ps": None if slope is None else slope * 1e6 / n_atoms,
            "temperature_mean": statistics.temperature_mean if statistics.n else None,
            "frames": self.state.n_frames,
        }

    def _make_dynamics(self) -> None:
        settings, atoms = self.settings, self.atoms
        first = atoms.copy()
        first.positions = self.state.first
        self.guard = Guard(first, settings.temperature or 0.0, settings.max_stretch)
        self.dynamics: VelocityVerlet | Langevin
        if settings.ensemble == "nve":
            self.dynamics = VelocityVerlet(atoms, timestep=settings.timestep * units.fs)
            return
        if self.is_free:
            atoms.set_constraint(FixCom())
        friction, kelvin = settings.friction / units.fs, settings.temperature
        self.dynamics = Langevin(
            atoms,
            settings.timestep * units.fs,
            temperature_K=kelvin,
            friction=friction,
            fixcm=False,
            rng=self.random,
        )
