"""Ten small molecules: frequencies, infrared and Raman beside finite differences and PySCF.

`python tests/benchmarks/spectra.py [--smiles C,CF] [--folder FOLDER]` prints one table; what lies
in the folder is not computed again. Frequencies and infrared intensities are those of `organic` at
its own minimum, beside central differences of its forces and dipoles, and beside PySCF's at
B3LYP/def2-SVP at that level's minimum. Raman activities are those of `chiroptical` on the modes of
`organic`, beside central differences of Hartree-Fock polarizabilities, HF/6-31G, the level it
learned, on the same modes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.optimize import BFGS

from molequi.labeling.backend_pyscf import PySCF
from molequi.labeling.levels import Level, Molecule, parse_level
from molequi.models.zoo import frozen_model
from molequi.simulation.calculator import Calculator
from molequi.simulation.harmonic import Harmonic, harmonic
from molequi.simulation.intensities import infrared, infrared_intensities, raman, raman_activities
from molequi.simulation.normal_modes import normal_modes
from molequi.structures.molecules import atoms_from_smiles

SMILES = ("O", "C#N", "N", "C=O", "C#C", "C", "CF", "C=C", "CO", "CC")
# Å. The third derivative of a network jumps at the knots of its splines: a wide step would feel it.
STEP = 1e-4
LEVEL, RAMAN_LEVEL = "b3lyp/def2-svp", "hf/6-31g"


class Labelled(AseCalculator):
    """Energy, forces and dipole by PySCF at a level, as `molequi label` computes them."""

    implemented_properties = ("energy", "forces", "dipole")

    def __init__(self, level: Level) -> None:
        super().__init__()
        self.level = level

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes
    ) -> None:
        """Compute everything at once."""
        super().calculate(atoms, properties, system_changes)
        molecule = Molecule(self.atoms.numbers, self.atoms.positions)
        names = ("energy", "forces", "dipole")
        values = PySCF().compute(self.level, names, molecule)
        self.results = {name: values[name] for name in names}


def differences(atoms: Atoms, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Hessian, eV/Å², and slopes of the dipole, e, (3, N, 3), by central differences."""
    rows, slopes = [], []
    for number in range(len(atoms)):
        for axis in range(3):
            sides = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.calc = atoms.calc
                moved.positions[number, axis] += sign * step
                sides.append((moved.get_forces().ravel(), moved.get_dipole_moment()))
            rows.append((sides[1][0] - sides[0][0]) / (2 * step))
            slopes.append((sides[0][1] - sides[1][1]) / (2 * step))
    hessian = np.array(rows)
    return 0.5 * (hessian + hessian.T), np.array(slopes).T.reshape(3, -1, 3)


def by_differences(atoms: Atoms, step: float = STEP) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies, cm^-1, and infrared intensities, km/mol, of a structure's calculator."""
    hessian, slopes = differences(atoms, step)
    modes = normal_modes(hessian, atoms.get_masses(), atoms.positions)
    return modes.frequencies, infrared_intensities(modes, slopes, atoms.get_masses())


def by_pyscf(start: Atoms) -> tuple[np.ndarray, np.ndarray]:
    """Return the same at the minimum of a density functional."""
    atoms = start.copy()
    atoms.calc = Labelled(parse_level(LEVEL))
    BFGS(atoms, logfile=None).run(fmax=2e-3, steps=60)
    return by_differences(atoms, 0.01)


def raman_by_hartree_fock(found: Harmonic) -> np.ndarray:
    """Return Raman activities, Å⁴/amu, by polarizabilities of displaced molecules."""
    level, atoms = parse_level(RAMAN_LEVEL), found.atoms
    masses = atoms.get_masses()
    slopes = []
    for weighted in found.modes.weighted:
        direction = weighted / np.sqrt(masses)[:, None]
        step = 0.01 / np.abs(direction).max()
        sides = [
            PySCF().compute(
                level,
                ("polarizability",),
                Molecule(atoms.numbers, atoms.positions + sign * step * direction),
            )["polarizability"]
            for sign in (1, -1)
        ]
        slopes.append((sides[0] - sides[1]) / (2 * step))
    # Slopes along modes, as a derivative by positions that gives these back.
    inverse = found.modes.weighted * np.sqrt(masses)[None, :, None]
    derivative = np.einsum("kxy,kni->xyni", np.array(slopes), inverse)
    return raman_activities(found.modes, derivative, masses).activities


def measure(smiles: str) -> dict[str, Any]:
    """Return what is compared of one molecule."""
    organic, chiroptical = (
        Calculator("organic", dtype="float64"),
        frozen_model("chiroptical", dtype="float64"),
    )
    found = harmonic(atoms_from_smiles(smiles), organic, relax_first=True, fmax=1e-4)
    strengths = infrared(found.atoms, organic, found.modes)
    own, own_strengths = by_differences(found.atoms)
    theirs, their_strengths = by_pyscf(found.atoms)
    activities = raman(found.atoms, chiroptical, found.modes, charge=0).activities
    hartree_fock = raman_by_hartree_fock(found)
    frequencies = found.modes.frequencies
    return {
        "smiles": smiles,
        "own_frequency": float(np.abs(frequencies - own).max()),
        "own_strength": float(np.abs(np.sort(strengths) - np.sort(own_strengths)).max()),
        "frequencies": frequencies.tolist(),
        "pyscf_frequencies": theirs.tolist(),
        "ir": strengths.tolist(),
        "pyscf_ir": their_strengths.tolist(),
        "raman": activities.tolist(),
        "pyscf_raman": hartree_fock.tolist(),
    }


def kept(smiles: str, folder: Path | None) -> dict[str, Any]:
    """Return what is compared of one molecule, from the folder where it is there."""
    if folder is None:
        return measure(smiles)
    path = folder / f"{smiles}.json"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measure(smiles)))
    return json.loads(path.read_text())


HEADS = ("molecule", "own ν", "own IR", "ν", "IR sum", "PySCF", "Raman sum", "PySCF")


def line(row: dict[str, Any]) -> str:
    """Return a row of the table.

    The largest errors against differences of the model itself, cm^-1 and km/mol; the mean
    difference of frequencies from PySCF's; sums of intensities of both.
    """
    apart = np.abs(np.subtract(row["frequencies"], row["pyscf_frequencies"])).mean()
    cells = (
        row["own_frequency"], row["own_strength"], apart, sum(row["ir"]), sum(row["pyscf_ir"]),
        sum(row["raman"]), sum(row["pyscf_raman"]),
    )  # fmt: skip
    return "  ".join([f"{row['smiles']:>10}", *(f"{cell:10.3f}" for cell in cells)])


def summary(rows: list[dict[str, Any]]) -> str:
    """Return a line for each quantity over all modes of all molecules."""
    lines = []
    for name in ("frequencies", "ir", "raman"):
        ours, theirs = (
            np.concatenate([row[key] for row in rows]) for key in (name, f"pyscf_{name}")
        )
        lines.append(
            f"{name}: {len(ours)} modes, mean difference {np.abs(ours - theirs).mean():.2f}, "
            f"mean of PySCF {theirs.mean():.2f}, correlation {np.corrcoef(ours, theirs)[0, 1]:.3f}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table row by row, or with --json what it is made of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smiles", default=",".join(SMILES))
    parser.add_argument("--folder", type=Path, help="keeps what was computed of each molecule")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    show = sys.stderr if arguments.json else sys.stdout
    show.write("  ".join(f"{head:>10}" for head in HEADS) + "\n")
    rows = []
    for smiles in arguments.smiles.split(","):
        rows.append(kept(smiles, arguments.folder))
        show.write(line(rows[-1]) + "\n")
        show.flush()
    sys.stdout.write((json.dumps(rows, indent=1) if arguments.json else summary(rows)) + "\n")


if __name__ == "__main__":
    main()
