"""Dynamics of aspirin at constant energy in float64, the same for any calculator of ASE.

    python nve.py FILE.model OUTPUT.npy STEPS

runs them with MACE and writes positions, (steps, N, 3), Å.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from ase import units
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

sys.path.append(str(Path(__file__).resolve().parents[1]))
from systems import aspirin

TEMPERATURE, TIMESTEP = 300.0, 0.5  # K, fs


def trajectory(calculator: Calculator, n_steps: int) -> np.ndarray:
    """Return the positions after every step."""
    atoms = aspirin()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(
        atoms, temperature_K=TEMPERATURE, rng=np.random.default_rng(0), force_temp=True
    )
    dynamics, positions = VelocityVerlet(atoms, TIMESTEP * units.fs), []
    for _ in range(n_steps):
        dynamics.run(1)
        positions.append(atoms.positions.copy())
    return np.array(positions)


def main(file: str, output: str, n_steps: int) -> None:
    """Run with MACE."""
    from mace.calculators import MACECalculator

    warnings.filterwarnings("ignore")
    calculator = MACECalculator(model_paths=file, device="cpu", default_dtype="float64")
    np.save(output, trajectory(calculator, n_steps))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
