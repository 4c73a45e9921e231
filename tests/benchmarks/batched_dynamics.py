"""How much faster are many small molecules at once than one ASE run after the other?

    python tests/benchmarks/batched_dynamics.py [--model organic] [--count 256] [--alone 8]
    [--steps 100] [--relaxed 1000] [--json]

Dynamics: `--count` molecules of 3 to 12 atoms with the Bussi thermostat by `run_many`, and
`--alone` of them, spread evenly, each by ASE's `Bussi` with `molequi.Calculator` for the same
steps; the ratio is of molecule-steps per second. Relaxation: `--relaxed` rattled copies by `relax`,
and `--alone` of them by ASE's `BFGS`; the ratio is of molecules per second. Kernels are compiled
before; one process.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.bussi import Bussi
from ase.optimize import BFGS

from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_many
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.relaxation import relax
from molequi.simulation.velocities import thermal_momenta

NAMES = (
    "H2O", "NH3", "CH4", "H2O2", "CH3OH", "C2H4", "C2H6", "CH3CHO", "HCOOH", "CH3CH2OH", "CH3COOH",
    "C6H6",
)  # fmt: skip


def molecules(count: int) -> list[Atoms]:
    """Return so many molecules, shaken by 0.03 Å."""
    found = []
    for number in range(count):
        atoms = molecule(NAMES[number % len(NAMES)])
        atoms.rattle(0.03, seed=number)
        atoms.info["charge"] = 0
        found.append(atoms)
    return found


def dynamics(calculator: Calculator, count: int, alone: int, steps: int) -> dict[str, float]:
    """Return molecule-steps per second of both ways, and their ratio."""
    every = molecules(count)
    settings = MDSettings("nvt", thermostat="bussi", steps=steps, interval=10)
    began = time.perf_counter()
    results = run_many(every, calculator, settings)
    together = sum(one["steps"] for one in results) / (time.perf_counter() - began)
    some = [every[k] for k in np.linspace(0, count - 1, alone).astype(int)]
    began = time.perf_counter()
    for seed, atoms in enumerate(some):
        rng = np.random.default_rng(seed)
        atoms.calc = calculator
        atoms.set_momenta(thermal_momenta(atoms, 300.0, rng, is_free=True))
        Bussi(atoms, 0.5 * units.fs, temperature_K=300.0, taut=100 * units.fs, rng=rng).run(steps)
    one_by_one = alone * steps / (time.perf_counter() - began)
    return {"together": together, "alone": one_by_one, "ratio": together / one_by_one}


def relaxations(calculator: Calculator, count: int, alone: int) -> dict[str, float]:
    """Return molecules per second of both ways, and their ratio."""
    every = molecules(count)
    began = time.perf_counter()
    records = relax(every, calculator, fmax=0.01)
    together = count / (time.perf_counter() - began)
    some = [every[k].copy() for k in np.linspace(0, count - 1, alone).astype(int)]
    began = time.perf_counter()
    for atoms in some:
        atoms.calc = calculator
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
    one_by_one = alone / (time.perf_counter() - began)
    converged = float(np.mean([record["converged"] for record in records]))
    return {
        "together": together, "alone": one_by_one, "ratio": together / one_by_one,
        "converged": converged,
    }  # fmt: skip


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="organic")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--alone", type=int, default=8)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--relaxed", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    calculator = Calculator(arguments.model, kernels="specialized")
    for atoms in molecules(2):
        calculator.get_property("forces", atoms)
    rows = {
        "dynamics": dynamics(calculator, arguments.count, arguments.alone, arguments.steps),
        "relaxation": relaxations(calculator, arguments.relaxed, arguments.alone),
    }
    if arguments.json:
        print(json.dumps(rows))
        return
    for name, row in rows.items():
        print(f"{name:12s}" + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
