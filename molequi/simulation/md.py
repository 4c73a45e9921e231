"""Molecular dynamics: velocity Verlet (NVE) and Langevin (NVT), with guards, statistics and exact restarts.

Integrators are ASE's. The drift is the slope of a straight line through the total energy of every
step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet

from molequi.errors import RunInterruptedError, UserError
from molequi.kernels import policy
from molequi.models.freeze import FrozenModel
from molequi.models.molecular import MolecularModel
from molequi.prediction.records import labelled_atoms
from molequi.runtime.signals import SignalWatch
from molequi.simulation.calculator import Calculator, as_calculator
from molequi.simulation.guard import Guard
from molequi.simulation.trajectory import State, Statistics, Trajectory
from molequi.structures.inputs import Input, one_structure

logger = logging.getLogger(__name__)
Progress = Callable[[int, int, Atoms], None]


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
        for name, unit, least in (("timestep", " fs", 0.0), ("friction", " 1/fs", 0.0)):
            if not least < getattr(self, name) < np.inf:
                raise UserError(f"{name} is {getattr(self, name)}{unit}; it must be positive")
        if self.steps < 0 or self.interval < 1:
            raise UserError(
                f"steps is {self.steps} and interval {self.interval}; steps must be at least 0, "
                "interval at least 1"
            )


def run_md(
    structure: Input,
    model: str | os.PathLike[str] | MolecularModel | FrozenModel | Calculator = "organic",
    settings: MDSettings | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    restart: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run molecular dynamics of the first structure of an input, and return what came of it.

    output: an extended XYZ file that gets every `interval`-th frame as it is reached, with energy,
    forces, dipole and momenta; the state to continue from with `restart` lies beside it. progress:
    called with (step, steps, atoms) at every frame.
    Returns steps, time_ps, drift_mev_atom_ps (None for nvt), temperature_mean (K), stopped (None,
    or the guard's reason), frames and labels.
    Raises UserError for a structure outside the model, settings that cannot be, or an output that
    is in the way, and RunInterruptedError where SIGINT or SIGTERM asked to stop: after the step
    that is being made, with its state saved.
    """
    settings = settings or MDSettings()
    atoms = structure.copy() if isinstance(structure, Atoms) else one_structure(structure).atoms
    calculator = as_calculator(model)
    simulation = _Simulation(atoms, calculator, settings)
    with (
        Trajectory(output, simulation.identity()) as trajectory,
        _settled_kernels(calculator, atoms, settings.steps),
    ):
        if restart:
            simulation.restore(trajectory.resume())
        else:
            # The model may refuse the structure: then no empty file is left behind.
            atoms.get_forces()
            simulation.begin()
            trajectory.start(overwrite=overwrite)
        with SignalWatch() as signals:
            stopped = _run(simulation, trajectory, progress, signals)
    return {
        **simulation.summary(),
        "stopped": stopped,
        "output": None if output is None else str(output),
    }


@contextlib.contextmanager
def _settled_kernels(calculator: Calculator, atoms: Atoms, steps: int) -> Iterator[None]:
    """Choose `auto` kernels by the work of the whole run, before it begins.

    A run that was interrupted must go on to the last bit.
    """
    model = calculator.model
    if model.kernels != "auto" or model.device.type != "cpu":
        yield
        return
    n_edges = calculator.graph(atoms).edge_index.shape[1]
    model.use_kernels(policy.worthwhile_kernels(steps * model.operations(n_edges)))
    try:
        yield
    finally:
        model.use_kernels("auto")


class _Simulation:
    """A structure in motion."""

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
        """Draw velocities from the Maxwell-Boltzmann distribution where asked, take out the motion of the whole, and stand at step 0."""
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
        """Stand where the saved state stood."""
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
        """Temperature of this moment, K, with the motion of the whole left out of the degrees of freedom."""
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
            self.calculator.model, self.atoms, self.calculator.predictions, labels
        )
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
        self.dynamics: MolecularDynamics
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


def _run(
    simulation: _Simulation, trajectory: Trajectory, progress: Progress | None, signals: SignalWatch
) -> str | None:
    """Go on to the last step, or to where a guard objects; return its objection."""
    state, settings = simulation.state, simulation.settings
    # A restored state has been measured already.
    is_new = state.n_frames == 0
    while True:
        if is_new:
            problem = simulation.measure()
            if problem is not None:
                return _stop(simulation, trajectory, problem)
            if state.step % settings.interval == 0:
                trajectory.write(simulation.frame(), simulation.present())
                if progress is not None:
                    progress(state.step, settings.steps, simulation.atoms)
        if state.step >= settings.steps:
            trajectory.save(simulation.present())
            return None
        if signals.number:
            trajectory.save(simulation.present())
            raise RunInterruptedError(
                _interruption(state.step, trajectory, signals.number), signals.number
            )
        simulation.advance()
        is_new = True


def _interruption(step: int, trajectory: Trajectory, number: int) -> str:
    kept = (
        "nothing is kept, for there is no output"
        if trajectory.path is None
        else f"it is saved in {trajectory.path}, go on with --restart"
    )
    return f"dynamics stopped by {signal.Signals(number).name} at step {step}; {kept}"


def _stop(simulation: _Simulation, trajectory: Trajectory, problem: str) -> str:
    step, model = simulation.state.step, simulation.calculator.model.metadata.name
    text = f"stopped at step {step} ({step * simulation.settings.timestep:g} fs): {problem}; the model {model} is no guide here"
    logger.warning("%s", text)
    if np.isfinite(simulation.calculator.results["forces"]).all():
        trajectory.write(simulation.frame(text), simulation.present())
    return text
