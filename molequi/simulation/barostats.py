"""Constant pressure by ASE's Martyna-Tobias-Klein integrators, which can be saved and go on.

The chain of the atoms is ours, because ASE's counts 3N degrees of freedom where the centre of mass
is at rest; tests/simulation/test_thermostats.py holds the attributes of ASE that are used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT

from molequi.simulation.chains import Chains
from molequi.simulation.thermostats import Saved

# What ASE keeps of the cell: one number for its size, or nine.
_OF_SIZE = ("_eps", "_p_eps")
_OF_CELL = ("_h", "_p_g")


class PressureMover:
    """A periodic cell at constant temperature and pressure, its size or all of it in motion.

    G. J. Martyna, D. J. Tobias and M. L. Klein, JCP 101, 4177 (1994). timestep, times of thermostat
    and barostat: in ASE's unit. pressure: eV/Å³.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        kelvin: float,
        pressure: float,
        times: tuple[float, float],
        chains: Chains,
        *,
        is_isotropic: bool,
    ) -> None:
        kind = IsotropicMTKNPT if is_isotropic else MTKNPT
        self._inner: Any = kind(
            atoms, timestep, temperature_K=kelvin, pressure_au=pressure,
            tdamp=times[0], pdamp=times[1],
        )  # fmt: skip
        self._chains = chains
        self._inner._thermostat = chains  # type: ignore[assignment]
        self._atoms, self._pressure = atoms, pressure
        self._of_cell = _OF_SIZE if is_isotropic else _OF_CELL

    def step(self) -> None:
        """Make one step."""
        self._inner.step()

    def aim(self, kelvin: float) -> None:
        """Aim at another temperature; the inertia of chains and cell stays."""
        self._chains.set_temperature(kelvin)
        self._inner._barostat._kT = units.kB * kelvin

    def saved(self) -> Saved:
        """Return where chains and cell stand; the first axis is that of the one structure."""
        barostat = self._inner._barostat
        cell = {name: getattr(self._inner, name) for name in self._of_cell}
        state = {
            "chains": self._chains.positions[:, 0],
            "chains_p": self._chains.momenta[:, 0],
            "cell_chain": barostat._xi,
            "cell_chain_p": barostat._p_xi,
            **cell,
        }
        return {name: np.array(value, dtype=np.float64)[None] for name, value in state.items()}

    def restore(self, saved: Mapping[str, np.ndarray]) -> None:
        """Let chains and cell stand there."""
        inner, barostat = self._inner, self._inner._barostat
        self._chains.positions = np.array(saved["chains"]).T
        self._chains.momenta = np.array(saved["chains_p"]).T
        barostat._xi, barostat._p_xi = (
            np.array(saved[name][0]) for name in ("cell_chain", "cell_chain_p")
        )
        for name in self._of_cell:
            value = np.array(saved[name][0])
            setattr(inner, name, value if value.ndim else float(value))
        inner._q, inner._p = self._atoms.get_positions(), self._atoms.get_momenta()
        inner._update_atoms()

    def reservoirs(self) -> np.ndarray | None:
        """Return what chains, cell and the work against the pressure hold."""
        atoms = self._atoms
        own = atoms.get_potential_energy() + atoms.get_kinetic_energy()
        return np.array([self._inner.get_conserved_energy() - own])
