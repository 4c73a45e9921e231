"""Is the density under a barostat that of the model's own equation of state? Of three structures.

    python tests/benchmarks/npt_density.py [--structure crystal|ice|water] [--picoseconds 20]
    [--each 8] [--folder FOLDER]

The crystal is fcc, 32 atoms of the analytic model of the tests, a Morse pair potential 1 eV deep at
2.6 Å; ice and water are those of `--model`. Ice is cubic ice with ordered protons, 8 molecules in a
cube: oxygen on the diamond lattice, where each of one sublattice gives its hydrogens to two of its
four neighbours and the other two give theirs back. Water is 27 molecules, turned at random, that
melt together at 300 K. All run at 1 bar with a cube that may change its size (`npt`, Martyna-
Tobias-Klein), and again at five fixed volumes around the mean (`nvt`, each with random numbers of
its own), whose mean pressures give a parabola P(ln V). Where it crosses 1 bar is the volume of the
equation of state. The two volumes must agree within their errors, which are those of block means.
Power: how far apart they would have to be to be told apart in 95 % of such runs by a test that is
wrong in 5 %, 3.6 errors (1.96 + 1.64). Runs in the folder go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import read
from scipy.spatial.transform import Rotation

from molequi.simulation.calculator import Calculator
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings

sys.path.append(str(Path(__file__).resolve().parents[1]))
from support.morse import MorseModel

BAR = 1.0
KELVIN = {"crystal": 300.0, "ice": 75.0, "water": 300.0}
ATOMS = {"crystal": 1, "ice": 3, "water": 3}  # of a molecule
_BOND = 0.99  # Å, of oxygen and hydrogen in ice
_STRAINS = (-0.02, -0.01, 0.0, 0.01, 0.02)  # of the volume
_BLOCKS = 8
# fs, of the thermostat at fixed volumes: a mean pressure is no better known than its temperature.
_QUICK = 25.0
_GRAM_PER_CM3 = 1e24 / units.mol  # g/mol in Å³


def crystal() -> Atoms:
    """Return the analytic model's crystal, moved off its lattice by thermal dynamics alone."""
    return bulk("O", "fcc", a=3.5, cubic=True).repeat(2)


def ice() -> Atoms:
    """Return cubic ice of 8 molecules with ordered protons."""
    oxygen = bulk("O", "diamond", a=6.3, cubic=True)
    directions = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3.0)
    atoms = Atoms(cell=oxygen.cell, pbc=True)
    for place in oxygen.positions:
        # The second sublattice stands a quarter of the cube's diagonal from the first.
        is_first = round(4 * place.sum() / 6.3) % 2 == 0
        given = directions[:2] if is_first else -directions[2:]
        atoms += Atoms("OH2", [place, *(place + _BOND * given)])
    return atoms


def water() -> Atoms:
    """Return 27 molecules on a grid at 1 g/cm³, turned at random."""
    side = (27 * 18.015 * _GRAM_PER_CM3) ** (1.0 / 3.0)
    turns = Rotation.random(27, random_state=0)
    places = np.stack(np.meshgrid(*3 * [np.arange(3)], indexing="ij"), axis=-1).reshape(-1, 3)
    atoms = Atoms(cell=3 * [side], pbc=True)
    for place, turn in zip(places * side / 3.0, turns, strict=True):
        one = molecule("H2O")
        one.positions = turn.apply(one.positions) + place
        atoms += Atoms(one.numbers, one.positions)
    return atoms


STRUCTURES = {"crystal": crystal, "ice": ice, "water": water}


def with_volume(atoms: Atoms, volume: float, size: int = 3) -> Atoms:
    """Return a cube of another volume, Å³, whose molecules of so many atoms moved as they are."""
    scaled = atoms.copy()
    factor = (volume / atoms.get_volume()) ** (1.0 / 3.0)
    scaled.set_cell(factor * atoms.cell.array)
    scaled.positions += np.repeat((factor - 1.0) * atoms.positions[::size], size, axis=0)
    return scaled


def columns(path: Path, *names: str) -> np.ndarray:
    """Return columns of a log, (names, rows), without its first fifth."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values = np.array([[float(row[name]) for row in rows] for name in names])
    return values[:, len(rows) // 5 :]


def run(
    name: str, atoms: Atoms, calculator: Calculator, settings: MDSettings, folder: Path
) -> Path:
    """Run, or go on with what is in the folder; return its log."""
    output = folder / f"{name}.traj"
    result = run_md(
        atoms, calculator, settings, output=output, restart=output.is_file(), overwrite=True
    )
    if result["stopped"]:
        raise RuntimeError(f"{name} {result['stopped']}")
    return output.with_name(f"{output.name}.csv")


def block_error(values: np.ndarray) -> float:
    """Return the standard error of a mean by the means of blocks."""
    means = [block.mean() for block in np.array_split(values, _BLOCKS)]
    return float(np.std(means, ddof=1) / np.sqrt(_BLOCKS))


def equation_of_state(volumes: np.ndarray, pressures: np.ndarray, errors: np.ndarray) -> Any:
    """Return the volume at 1 bar, its error, and the bulk modulus there, bar: -dP / d ln V."""
    middle = float(np.mean(volumes))
    fit, covariance = np.polyfit(
        np.log(volumes / middle), pressures, 2, w=1.0 / errors, cov="unscaled"
    )
    roots = np.roots(fit - [0.0, 0.0, BAR])
    logarithm = float(roots[np.abs(roots).argmin()].real)
    slope = float(np.polyval(np.polyder(fit), logarithm))
    # The error of the root, to first order in those of the coefficients.
    gradient = -np.array([logarithm**2, logarithm, 1.0]) / slope
    error = float(np.sqrt(gradient @ covariance @ gradient))
    volume = middle * float(np.exp(logarithm))
    return volume, volume * error, -slope


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--structure", choices=tuple(STRUCTURES), default="crystal")
    parser.add_argument("--model", default="organic")
    parser.add_argument("--picoseconds", type=float, default=20.0, help="of npt")
    parser.add_argument("--each", type=float, default=8.0, help="ps, at each volume")
    parser.add_argument("--folder", type=Path, default=Path("npt_density"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    is_analytic = arguments.structure == "crystal"
    calculator = (
        Calculator(MorseModel())
        if is_analytic
        else Calculator(arguments.model, kernels="specialized")
    )
    measure(calculator, arguments)


def measure(calculator: Calculator, arguments: argparse.Namespace) -> None:
    """Run everything of a structure and print what came of it."""
    name, folder = arguments.structure, arguments.folder
    atoms = STRUCTURES[name]()
    common = {"timestep": 0.5, "interval": 10, "max_stretch": None}
    npt = MDSettings(
        "npt", KELVIN[name], steps=round(2000 * arguments.picoseconds), pressure=BAR,
        barostat_time=300.0, **common,
    )  # fmt: skip
    (volumes,) = columns(run(f"{name}_npt", atoms, calculator, npt, folder), "volume_A3")
    mean, error = float(volumes.mean()), block_error(volumes)
    mass = float(atoms.get_masses().sum()) * _GRAM_PER_CM3
    print(f"{name}: npt {mean:.2f} ± {error:.2f} Å³, {mass / mean:.4f} g/cm³", flush=True)
    last = Atoms(read(folder / f"{name}_npt.traj", index=-1))
    at, pressures, errors = [], [], []
    for number, strain in enumerate(_STRAINS, start=1):
        at.append(mean * (1.0 + strain))
        scaled = with_volume(last, at[-1], ATOMS[name])
        nvt = MDSettings(
            "nvt", KELVIN[name], steps=round(2000 * arguments.each), thermostat="bussi",
            thermostat_time=_QUICK, seed=number, **common,
        )  # fmt: skip
        log = run(f"{name}_{strain:+.2f}", scaled, calculator, nvt, folder)
        (found,) = columns(log, "pressure_bar")
        pressures.append(float(found.mean()))
        errors.append(block_error(found))
        print(f"  {at[-1]:.2f} Å³: {pressures[-1]:.0f} ± {errors[-1]:.0f} bar", flush=True)
    volume, its_error, modulus = equation_of_state(*map(np.array, (at, pressures, errors)))
    both = float(np.hypot(error, its_error))
    print(
        f"{name}: equation of state {volume:.2f} ± {its_error:.2f} Å³, {mass / volume:.4f} g/cm³, "
        f"bulk modulus {modulus * 1e-4:.1f} GPa\n{name}: apart by {mean - volume:.2f} ± {both:.2f} "
        f"Å³, {(mean - volume) / both:.1f} errors; told apart in 95 % of runs from "
        f"{100 * 3.6 * both / volume:.2f} % on"
    )


if __name__ == "__main__":
    main()
