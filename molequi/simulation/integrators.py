"""Which integrator moves joined structures, by the settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms, units

from molequi.simulation.barostats import PressureMover
from molequi.simulation.chains import Chains
from molequi.simulation.joined import Joined
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.thermostats import (
    BussiMover,
    ChainMover,
    Generators,
    LangevinMover,
    Mover,
    Verlet,
)

# ASE's unit of pressure, eV/Å³.
_BAR = units.bar


def make_mover(
    atoms: Atoms,
    settings: MDSettings,
    joined: Joined,
    n_degrees: np.ndarray,
    generators: Sequence[np.random.Generator],
) -> Mover:
    """Return what moves the joined structure `atoms`, at the temperature of step 0.

    n_degrees: (B,), that thermostats count. generators: of each structure.
    """
    timestep, kelvin = settings.timestep * units.fs, settings.target(0)
    if settings.how == "nve":
        return Verlet(atoms, timestep=timestep)
    if settings.how == "langevin":
        friction = settings.friction / units.fs
        return LangevinMover(
            atoms, timestep, kelvin, friction, Generators(generators, joined.counts)
        )
    bath_time = settings.thermostat_time * units.fs
    if settings.how == "bussi":
        return BussiMover(atoms, timestep, kelvin, bath_time, joined, n_degrees, generators)
    chains = Chains(n_degrees, joined.owner, joined.masses, kelvin, bath_time)
    if settings.how == "nose-hoover":
        return ChainMover(atoms, timestep, chains)
    return PressureMover(
        atoms, timestep, kelvin, settings.pressure * _BAR,
        (bath_time, settings.barostat_time * units.fs), chains,
        is_isotropic=settings.cell == "isotropic",
    )  # fmt: skip
