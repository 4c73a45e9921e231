"""Integrators of ASE for many structures at once, each with its own bath and random numbers.

Velocity Verlet and Langevin move atom by atom, so that one integrator of ASE moves all structures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from molequi.simulation.chains import Chains
from molequi.simulation.joined import Joined

Saved = dict[str, np.ndarray]


class Mover(Protocol):
    """What moves the atoms. Steps leave positions and momenta in the joined structure.

    saved: what it must know beside these to go on to the last bit, arrays (B, ...). reservoirs:
    (B,), eV, what the baths took from each structure: with the total energy a constant of the
    motion; None where there is none.
    """

    def step(self) -> Any:
        """Make one step."""

    def aim(self, kelvin: float) -> None:
        """Aim at another temperature."""

    def saved(self) -> Saved:
        """Return what is to be saved."""

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Stand where `saved` stood; positions and momenta are there already."""

    def reservoirs(self) -> np.ndarray | None:
        """Return what the baths hold."""


class Generators:
    """Random numbers of atoms, those of each structure from its own generator, for ASE."""

    def __init__(self, generators: Sequence[np.random.Generator], counts: np.ndarray) -> None:
        self._each = list(zip(generators, counts.tolist(), strict=True))

    def standard_normal(self, size: tuple[int, int]) -> np.ndarray:
        """Return normal numbers of width 1: (N, 3)."""
        return np.concatenate(
            [generator.standard_normal((count, size[1])) for generator, count in self._each]
        )


class Verlet(VelocityVerlet):
    """Velocity Verlet: constant energy."""

    def aim(self, kelvin: float) -> None:
        """Do nothing: there is no thermostat."""

    def saved(self) -> Saved:
        """Return nothing: positions and momenta are all."""
        return {}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""

    def reservoirs(self) -> np.ndarray | None:
        """Return zero: there is no bath."""
        return np.zeros(1)


class LangevinMover(Langevin):
    """ASE's Langevin dynamics; friction: in ASE's unit."""

    def __init__(
        self, atoms: Atoms, timestep: float, kelvin: float, friction: float, rng: Generators
    ) -> None:
        super().__init__(
            atoms, timestep, temperature_K=kelvin, friction=friction, fixcm=False, rng=rng
        )

    def aim(self, kelvin: float) -> None:
        """Aim at another temperature."""
        self.set_temperature(temperature_K=kelvin)

    def saved(self) -> Saved:
        """Return nothing: the generators are saved by their owner."""
        return {}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Do nothing."""

    def reservoirs(self) -> np.ndarray | None:
        """Return None: what friction takes and noise gives is not counted."""
        return None


class BussiMover(VelocityVerlet):
    """Velocities rescaled at random.

    G. Bussi, D. Donadio and M. Parrinello, JCP 126, 014101 (2007), equation A7, for each
    structure by itself, and velocity Verlet, as in ASE's `Bussi`. n_degrees: (B,). time: in
    ASE's unit.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        kelvin: float,
        time: float,
        joined: Joined,
        n_degrees: np.ndarray,
        generators: Sequence[np.random.Generator],
    ) -> None:
        super().__init__(atoms, timestep)
        self._joined, self._n, self._generators = joined, n_degrees, generators
        self._kt, self._kept = units.kB * kelvin, float(np.exp(-timestep / time))
        self._taken = np.zeros(len(joined))

    def step(self, forces: np.ndarray | None = None) -> np.ndarray:
        """Rescale, then move."""
        momenta = self.atoms.get_momenta()
        kinetic = self._joined.kinetic(momenta)
        square = self._square(kinetic)
        self._taken -= (square - 1.0) * kinetic
        self.atoms.set_momenta(momenta * np.sqrt(square)[self._joined.owner][:, None])
        return super().step(forces)

    def _square(self, kinetic: np.ndarray) -> np.ndarray:
        """Draw the square of the factor of each structure's velocities."""
        draws = [
            (generator.standard_normal(), 2.0 * generator.standard_gamma(0.5 * (n - 1)))
            for generator, n in zip(self._generators, self._n.tolist(), strict=True)
        ]
        first, rest = np.array(draws).T
        given = (1.0 - self._kept) * 0.5 * self._kt / kinetic
        return self._kept + given * (rest + first**2) + 2.0 * first * np.sqrt(self._kept * given)

    def aim(self, kelvin: float) -> None:
        """Aim at another temperature."""
        self._kt = units.kB * kelvin

    def saved(self) -> Saved:
        """Return what was taken from each structure."""
        return {"taken": self._taken.copy()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Go on counting."""
        self._taken = np.array(saved["taken"])

    def reservoirs(self) -> np.ndarray | None:
        """Return what was taken from each structure, eV."""
        return self._taken


class ChainMover(VelocityVerlet):
    """Nosé-Hoover chains around velocity Verlet: half a step of the chains before and after."""

    def __init__(self, atoms: Atoms, timestep: float, chains: Chains) -> None:
        super().__init__(atoms, timestep)
        self._chains = chains

    def step(self, forces: np.ndarray | None = None) -> np.ndarray:
        """Make one step."""
        self._bathe()
        forces = super().step(forces)
        self._bathe()
        return forces

    def _bathe(self) -> None:
        momenta = self._chains.integrate_nhc(self.atoms.get_momenta(), self.dt / 2)
        self.atoms.set_momenta(momenta)

    def aim(self, kelvin: float) -> None:
        """Aim at another temperature."""
        self._chains.set_temperature(kelvin)

    def saved(self) -> Saved:
        """Return where the chains stand."""
        return {
            "chains": self._chains.positions.T.copy(),
            "chains_p": self._chains.momenta.T.copy(),
        }

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Let the chains stand there."""
        self._chains.positions = np.array(saved["chains"]).T
        self._chains.momenta = np.array(saved["chains_p"]).T

    def reservoirs(self) -> np.ndarray | None:
        """Return what the chains hold."""
        return self._chains.energies()
