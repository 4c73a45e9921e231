"""Is the energy kept? Drift of ethanol and aspirin, and its error as the timestep falls.

    python tests/benchmarks/conservation.py [--model organic] [--molecules ethanol,aspirin]
    [--picoseconds 20] [--dtype float64] [--short 0.1] [--json]

NVE from 300 K after a relaxation, 0.5 fs; the drift is the slope of the total energy over the run,
meV/atom/ps. The error of the energy: standard deviation of the total energy over `--short` ps at 1,
0.5, 0.25 and 0.125 fs from the same point; velocity Verlet makes it fall as dt², so that each
halving divides it by 4, and the exponent of a straight line through the logarithms is 2.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from ase import Atoms, units
from ase.io import read
from ase.md.verlet import VelocityVerlet

from molequi.runtime.resources import data_path
from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.velocities import thermal_momenta

TIMESTEPS = (1.0, 0.5, 0.25, 0.125)


def relaxed(name: str, calculator: Calculator) -> Atoms:
    """Return a molecule of the samples at its minimum."""
    atoms = read(data_path(f"samples/{name}.xyz"))
    atoms.calc = calculator
    return relax_atoms(atoms, fmax=0.01).atoms


def errors(atoms: Atoms, calculator: Calculator, picoseconds: float) -> list[float]:
    """Return the standard deviation of the total energy, meV, for each timestep."""
    momenta = thermal_momenta(atoms, 300.0, np.random.default_rng(0), is_free=True)
    found = []
    for timestep in TIMESTEPS:
        moving = atoms.copy()
        moving.calc = calculator
        moving.set_momenta(momenta)
        dynamics, energies = VelocityVerlet(moving, timestep * units.fs), []
        for _ in range(round(picoseconds * 1000.0 / timestep)):
            dynamics.step()
            energies.append(moving.get_total_energy())
        found.append(1000.0 * float(np.std(energies)))
    return found


def measure(name: str, calculator: Calculator, arguments: argparse.Namespace) -> dict[str, object]:
    """Return the figures of one molecule."""
    atoms = relaxed(name, calculator)
    settings = MDSettings(steps=round(arguments.picoseconds * 2000.0), interval=1000)
    result = run_md(atoms, calculator, settings)
    found = errors(atoms, calculator, arguments.short)
    slope = float(np.polyfit(np.log(TIMESTEPS), np.log(found), 1)[0])
    return {
        "molecule": name,
        "dtype": str(calculator.model.dtype),
        "time_ps": result["time_ps"],
        "drift_mev_atom_ps": result["drift_mev_atom_ps"],
        "temperature_mean": result["temperature_mean"],
        "stopped": result["stopped"],
        "energy_std_mev": found,
        "exponent": slope,
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="organic")
    parser.add_argument("--molecules", default="ethanol,aspirin")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--short", type=float, default=0.1)
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    calculator = Calculator(arguments.model, dtype=arguments.dtype, kernels="specialized")
    rows = []
    for name in arguments.molecules.split(","):
        rows.append(measure(name, calculator, arguments))
        if not arguments.json:
            print(rows[-1], flush=True)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
