"""Structures in motion, one or many: what moves them, and what has been measured of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from molequi.errors import UserError
from molequi.runtime.plain import plain
from molequi.simulation.beginning import (
    count_degrees,
    first_state,
    in_kelvin,
    refuse_impossible,
    warn_of_velocities,
)
from molequi.simulation.calculator import Calculator
from molequi.simulation.constraints import FixCentres, Held, held_in
from molequi.simulation.forces import JointCalculator, admitted
from molequi.simulation.guard import Guard
from molequi.simulation.integrators import make_mover
from molequi.simulation.joined import Joined
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.state import State
from molequi.simulation.thermostats import Mover
from molequi.simulation.timestep import too_long
from molequi.structures.symbols import formula


class Motion:
    """Structures in motion. Those that stopped are left out of what is computed.

    structures: as they were given; they are not changed. moving: the numbers of those in motion,
    which `joined`, `calculator`, `mover` and the arrays of a moment are of.
    """

    moving: list[int]
    joined: Joined
    calculator: JointCalculator
    mover: Mover
    state: State

    def __init__(
        self, structures: Sequence[Atoms], calculator: Calculator, settings: MDSettings
    ) -> None:
        self.structures = [atoms.copy() for atoms in structures]
        self.impossible: dict[int, str] = {}
        self.doubts: dict[int, str | None] = {}
        self.own, self.settings = calculator, settings
        refuse_impossible(self.structures, settings)
        # Known from the structures as they were given, on a restart too.
        self._everyone = Joined(self.structures)
        held = held_in(self._everyone, settings.constrain)
        self.n_degrees = count_degrees(self._everyone, held, settings)

    def n_edges(self) -> int:
        """Return the number of pairs that the model sees of all structures as they were given."""
        return sum(admitted(self.own, atoms).graph.edge_index.shape[1] for atoms in self.structures)

    def identity(self) -> dict[str, Any]:
        """What must agree when the simulation is continued; one structure's values stand alone."""
        settings = dataclasses.asdict(self.settings)
        del settings["steps"]
        settings |= {name: list(map(_plain, settings[name])) for name in ("ramp", "constrain")}
        each = {
            "atoms": [atoms.get_chemical_formula(mode="reduce") for atoms in self.structures],
            "cell": self._everyone.cells.tolist(),
            "pbc": self._everyone.pbc.tolist(),
            "charge and multiplicity": [list(self.own.electrons(a)) for a in self.structures],
            "isotopes": [formula(atoms) for atoms in self.structures],
            "constraints of the structure": [
                plain([one.todict() for one in atoms.constraints]) for atoms in self.structures
            ],
        }
        return {
            **{name: v[0] if len(self.structures) == 1 else v for name, v in each.items()},
            "model": self.own.model.metadata.name,
            "weights": self.own.model.digest(),
            "dtype": str(self.own.model.dtype),
            **settings,
        }

    def begin(self) -> None:
        """Stand at step 0: see `beginning.first_state`."""
        warn_of_velocities(self.structures, self.settings)
        held = held_in(self._everyone, self.settings.constrain)
        self.state = first_state(self._everyone, held, self.settings, self.n_degrees)
        self._go(range(len(self.structures)))
        if self.settings.steps:
            self.impossible = too_long(
                self.calculator, self._everyone, held, self.settings.timestep
            )

    def restore(self, state: State) -> None:
        """Stand where the saved state stood. Raises UserError where it is of other atoms."""
        if len(state.positions) != len(self._everyone.owner):
            raise UserError(
                f"the saved state has {len(state.positions)} atoms, the structures "
                f"{len(self._everyone.owner)}; start again with --overwrite"
            )
        self.state = state
        self._go([k for k, one in enumerate(state.each) if one.stopped is None])

    def _go(self, moving: Sequence[int]) -> None:
        """Set those structures in motion where the state has them."""
        state, settings = self.state, self.settings
        self.moving = list(moving)
        if not self.moving:
            return
        self.joined = Joined(self._as_they_began())
        held = held_in(self.joined, settings.constrain)
        hottest = max([settings.temperature or 0.0, *(kelvin for kelvin, _ in settings.ramp)])
        self.guard = Guard(self.joined, hottest, settings.max_stretch, settings.max_doubt)
        self.calculator = JointCalculator(self.own, self.joined)
        doubts = [one.doubt for one in self.calculator.each]
        self.doubts.update(zip(self.moving, doubts, strict=True))
        self.one = self.joined.one()
        is_moving = self._is_moving = self.atoms_of(self.moving)
        self.one.set_constraint([*held.constraints, *self._centres(held)])
        self.one.set_positions(state.positions[is_moving], apply_constraint=False)
        self.one.set_momenta(state.momenta[is_moving], apply_constraint=False)
        self.one.calc = self.calculator
        self.degrees = self.n_degrees[self.moving]
        self.mover = self._mover()
        self.one.get_forces()

    def _as_they_began(self) -> list[Atoms]:
        """Return what moves at step 0: bonds, cells and what is held are those of then."""
        places = self._everyone.parts(self.state.first)
        chosen = [self.structures[number].copy() for number in self.moving]
        for atoms, number in zip(chosen, self.moving, strict=True):
            atoms.set_positions(places[number], apply_constraint=False)
        return chosen

    def _centres(self, held: Held) -> list[FixCentres]:
        """Hold the centres of mass that noise would push."""
        is_held = held.is_free & (self.joined.counts > 1)
        is_pushed = self.settings.how == "langevin" and is_held.any()
        return [FixCentres(self.joined, is_held)] if is_pushed else []

    def _mover(self) -> Mover:
        """Make what moves the structures, as the state has it."""
        state, settings = self.state, self.settings
        self.random = [np.random.Generator(np.random.PCG64()) for _ in self.moving]
        for generator, number in zip(self.random, self.moving, strict=True):
            generator.bit_generator.state = state.each[number].random
        mover = make_mover(self.one, settings, self.joined, self.degrees, self.random)
        mover.aim(settings.target(state.step))
        if state.mover:
            mover.restore({name: v[self.moving] for name, v in state.mover.items()})
        return mover

    def advance(self) -> None:
        """Make one step."""
        if self.settings.ramp:
            self.mover.aim(self.settings.target(self.state.step + 1))
        self.mover.step()
        self.state.step += 1

    def measure(self) -> dict[int, str]:
        """Take this moment into the statistics, and return the guard's objections.

        By the place in `moving`.
        """
        name = self.calculator.model.metadata.name
        kelvin = self.temperatures()
        seen = self.guard.problems(self.calculator, kelvin)
        problems = {
            place: f"{why}; the model {name} is no guide here" for place, why in seen.items()
        }
        problems |= self.impossible
        self.impossible = {}
        time, energies, spreads = self.time, self.conserved(), self.calculator.spreads
        doubts = np.zeros(len(self.moving)) if spreads is None else spreads
        for place, number in enumerate(self.moving):
            if place not in problems:
                one = self.state.each[number]
                one.steps = self.state.step
                now = energies[place], kelvin[place], doubts[place]
                one.statistics.add(time, *map(float, now))
        return problems

    @property
    def time(self) -> float:
        """Time of this moment, fs."""
        return self.state.step * self.settings.timestep

    def conserved(self) -> np.ndarray:
        """Return what should stay constant: total energies and what the baths took, (B,), eV."""
        reservoirs = self.mover.reservoirs()
        total = self.calculator.energies + self.joined.kinetic(self.one.get_momenta())
        return total if reservoirs is None else total + reservoirs

    def temperatures(self) -> np.ndarray:
        """Return the temperatures of this moment, K; the motion of the whole does not count."""
        return in_kelvin(self.joined.kinetic(self.one.get_momenta()), self.degrees)

    def present(self) -> State:
        """Return the state of this moment, to be saved."""
        state = self.state
        if self.moving:
            state.positions[self._is_moving] = self.one.positions
            state.momenta[self._is_moving] = self.one.get_momenta()
            for generator, number in zip(self.random, self.moving, strict=True):
                state.each[number].random = generator.bit_generator.state
            for name, values in self.mover.saved().items():
                shape = (len(self.structures), *values.shape[1:])
                state.mover.setdefault(name, np.zeros(shape))[self.moving] = values
        return state

    def count(self, shown: Sequence[int], stopped: Mapping[int, str]) -> None:
        """Count the frames that were shown, and go on without what has stopped.

        By their places in `moving`.
        """
        each = [self.state.each[number] for number in self.moving]
        for place in shown:
            each[place].n_frames += 1
        for place, text in stopped.items():
            each[place].stopped, each[place].steps = text, self.state.step
        self.present()
        if stopped:
            self._go([number for k, number in enumerate(self.moving) if k not in stopped])

    def atoms_of(self, numbers: Sequence[int]) -> np.ndarray:
        """Tell which atoms, of all, belong to these structures: (N,)."""
        return np.isin(self._everyone.owner, numbers)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
