"""Is the energy kept? Drift of ethanol and aspirin, and its error as the timestep falls.

    python tests/benchmarks/conservation.py [--model organic] [--molecules ethanol,aspirin]
    [--picoseconds 20] [--dtype float64,float32] [--short 0.1] [--folder FOLDER] [--json]

NVE at 0.5 fs from a minimum with velocities of 600 K, half of which goes into the potential energy,
so that the mean is near 300 K; the drift is the slope of the total energy over the run,
meV/atom/ps. The error of the energy: standard deviation of the total energy over `--short` ps at 1,
0.5, 0.25 and 0.125 fs from the same point; velocity Verlet makes it fall as dt², so that each
halving divides it by 4, and the exponent of a straight line through the logarithms is 2. With
--folder the trajectories are kept there, and a run that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import read, write
from ase.md.verlet import VelocityVerlet

from molequi.runtime.resources import data_path
from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.velocities import thermal_momenta

_FIRST_KELVIN = 600.0
TIMESTEPS = (1.0, 0.5, 0.25, 0.125)


def relaxed(name: str, calculator: Calculator) -> Atoms:
    """Return a molecule of the samples at its minimum."""
    atoms = read(data_path(f"samples/{name}.xyz"))
    atoms.calc = calculator
    return relax_atoms(atoms, fmax=0.01).atoms


def errors(atoms: Atoms, calculator: Calculator, picoseconds: float) -> list[float]:
    """Return the standard deviation of the total energy, meV, for each timestep."""
    momenta = thermal_momenta(atoms, _FIRST_KELVIN, np.random.default_rng(0), is_free=True)
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


def long_run(name: str, calculator: Calculator, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run from the minimum; where a run in the folder was interrupted, go on with it."""
    steps = round(arguments.picoseconds * 2000.0)
    settings = MDSettings(temperature=_FIRST_KELVIN, steps=steps, interval=1000)
    if arguments.folder is None:
        return run_md(relaxed(name, calculator), calculator, settings)
    output = arguments.folder / f"{name}_{calculator.parameters['dtype']}.xyz"
    start = output.with_suffix(".start.extxyz")
    if not start.is_file():
        arguments.folder.mkdir(parents=True, exist_ok=True)
        write(start, relaxed(name, calculator))
    atoms = read(start)
    atoms.calc = None
    return run_md(
        atoms, calculator, settings, output=output, restart=output.is_file(), overwrite=True
    )


def measure(name: str, calculator: Calculator, arguments: argparse.Namespace) -> dict[str, object]:
    """Return the figures of one molecule."""
    result = long_run(name, calculator, arguments)
    found = errors(relaxed(name, calculator), calculator, arguments.short)
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
    parser.add_argument("--dtype", default="float64,float32")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for dtype in arguments.dtype.split(","):
        calculator = Calculator(arguments.model, dtype=dtype, kernels="specialized")
        for name in arguments.molecules.split(","):
            rows.append(measure(name, calculator, arguments))
            if not arguments.json:
                print(rows[-1], flush=True)
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
