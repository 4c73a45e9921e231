"""Geometries and frequencies of the teacher, beside which models are put.

    python data/recipes/teacher_reference.py --shards work/shards --output DIR [--count 50]

Environment: that of `teacher.py`. Writes into --output
  teacher_geometries.extxyz   molecules of valid and test, one of every kind in turn, and the named
                              ones below, relaxed until no force exceeds 0.01 eV/Å; `energy` and
                              `forces` of the teacher, info `name` (SMILES) and `charge`
  teacher_frequencies.json    {name: {numbers, positions (Å), frequencies_cm1}} of small molecules,
                              from forces at displacements of 0.02 Å
Ten minutes on one thread. It goes on where it was stopped, as long as the shards are the same.
"""

import argparse
import json
import logging
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import teacher_aimnet as aimnet
import teacher_assemble as assembly
import teacher_geometries as geometries
from ase import Atoms
from ase.build import molecule
from ase.io import read, write
from ase.optimize import BFGS
from ase.vibrations import VibrationsData
from teacher_calculator import TeacherCalculator, make

LOG = logging.getLogger("teacher")
FORCE, STEPS = 0.01, 300
SMALLEST, LARGEST = 10, 60
RELAXED = assembly.SAMPLERS.index("relaxed")
# Bonds that models find hard, in words of chemistry: azides, azo groups, N-oxides, nitro groups.
NAMED = {
    "phenyl azide": "[N-]=[N+]=Nc1ccccc1",
    "azobenzene": "c1ccc(/N=N/c2ccccc2)cc1",
    "pyridine N-oxide": "[O-][n+]1ccccc1",
    "trimethylamine N-oxide": "C[N+](C)(C)[O-]",
    "methanimine N-oxide, N-methyl": "C=[N+](C)[O-]",
    "nitrobenzene": "O=[N+]([O-])c1ccccc1",
}
SMALL = {
    "water": "H2O", "carbon dioxide": "CO2", "methane": "CH4", "formaldehyde": "H2CO",
    "benzene": "C6H6", "sulfur dioxide": "SO2", "chloromethane": "CH3Cl",
}  # fmt: skip
DISPLACEMENT = 0.02  # Å, far above the rounding of float32 positions


def held_out(folder: Path, count: int) -> list[Atoms]:
    """Return relaxed single molecules of valid and test, charged and neutral, of all elements.

    One after the other the molecule is taken whose rarest element has been taken least often, among
    equals the one whose name has the smallest checksum.
    """
    arrays = assembly.read_shards(sorted(folder.glob("0*.npz")))
    off = assembly.offsets(arrays["n_atoms"])
    candidates: dict[str, Atoms] = {}
    fits = (arrays["part"] > 0) & (arrays["sampler"] == RELAXED) & (arrays["damage"] == 0)
    fits &= (arrays["n_atoms"] >= SMALLEST) & (arrays["n_atoms"] <= LARGEST)
    for row in np.flatnonzero(fits):
        name, atoms = str(arrays["name"][row]), slice(off[row], off[row + 1])
        if "." not in name:
            found = Atoms(arrays["z"][atoms], arrays["pos"][atoms].astype(float))
            found.info |= {"name": name, "charge": int(arrays["charge"][row])}
            candidates.setdefault(name, found)
    taken: list[Atoms] = []
    counts = dict.fromkeys(aimnet.ELEMENTS, 0) | {"ion": 0}
    while candidates and len(taken) < count:
        name = min(
            candidates, key=lambda n: (rarity(candidates[n], counts), zlib.crc32(n.encode()))
        )
        taken.append(candidates.pop(name))
        for kind in kinds(taken[-1]):
            counts[kind] += 1
    return taken


def rarity(atoms: Atoms, counts: dict[str, int]) -> int:
    """Return how often the rarest kind of a molecule has been taken."""
    return min(counts[kind] for kind in kinds(atoms))


def kinds(atoms: Atoms) -> set[str]:
    """Return the elements of a molecule, and whether it is an ion."""
    return set(atoms.symbols) | ({"ion"} if atoms.info["charge"] else set())


def named() -> Iterator[Atoms]:
    """Make the named molecules."""
    for name, smiles in NAMED.items():
        made = geometries.embed(smiles, 1)
        if made is None:
            raise ValueError(f"no geometry of {name}")
        atoms = Atoms(made[0], made[1])
        atoms.info |= {"name": name, "charge": 0}
        yield atoms


def relax(atoms: Atoms, calculator: TeacherCalculator) -> bool:
    """Relax in place, starting from the Hessian of an elastic network."""
    atoms.calc = calculator
    dynamics = BFGS(atoms, logfile=None, maxstep=0.1)
    hessian = geometries.elastic_hessian(atoms.numbers, atoms.positions)
    dynamics.H0 = hessian + 2.0 * np.eye(len(hessian))
    return bool(dynamics.run(fmax=FORCE, steps=STEPS))


def write_geometries(path: Path, frames: list[Atoms], calculator: TeacherCalculator) -> None:
    """Relax and add to the file one by one; what does not come to rest is left out and named."""
    done = {atoms.info["name"] for atoms in read(path, index=":")} if path.exists() else set()
    for atoms in frames:
        if atoms.info["name"] in done:
            continue
        is_done = relax(atoms, calculator)
        LOG.info("%s: %s", atoms.info["name"], "relaxed" if is_done else "left out, not at rest")
        if is_done:
            relaxed = atoms.copy()
            relaxed.info["energy"] = atoms.get_potential_energy()
            relaxed.arrays["forces"] = np.array(atoms.get_forces())
            write(path, relaxed, format="extxyz", append=True)


def frequencies(atoms: Atoms, calculator: TeacherCalculator) -> list[float]:
    """Return the harmonic wavenumbers, cm^-1, imaginary ones negative; translations, rotations out.

    The 6 (5) smallest in size are these: at a minimum they are nearly zero.
    """
    atoms.calc = calculator
    rows = []
    for atom, axis in np.ndindex(len(atoms), 3):
        sides = []
        for sign in (1.0, -1.0):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * DISPLACEMENT
            moved.calc = calculator
            sides.append(moved.get_forces().ravel())
        rows.append((sides[1] - sides[0]) / (2.0 * DISPLACEMENT))
    hessian = np.array(rows)
    found = VibrationsData.from_2d(atoms, 0.5 * (hessian + hessian.T)).get_frequencies()
    signed = np.real(found) - np.imag(found)
    is_linear = np.linalg.matrix_rank(atoms.positions - atoms.positions[0], tol=0.02) < 2
    order = np.argsort(np.abs(signed))[5 if is_linear else 6 :]
    return sorted(signed[order].tolist())


def write_frequencies(path: Path, calculator: TeacherCalculator) -> None:
    """Relax the small molecules and write their frequencies."""
    document = {}
    for name, formula in SMALL.items():
        atoms = molecule(formula)
        atoms.info["charge"] = 0
        if not relax(atoms, calculator):
            raise ValueError(f"{name} does not come to rest")
        document[name] = {
            "numbers": atoms.numbers.tolist(),
            "positions": np.round(atoms.positions, 5).tolist(),
            "frequencies_cm1": [round(x, 2) for x in frequencies(atoms, calculator)],
        }
        LOG.info("%s: %s", name, document[name]["frequencies_cm1"])
    path.write_text(json.dumps(document, indent=1) + "\n")


def main() -> None:
    """Parse, relax, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=50)
    settings = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings.output.mkdir(parents=True, exist_ok=True)
    calculator = make()
    if not (path := settings.output / "teacher_frequencies.json").exists():
        write_frequencies(path, calculator)
    frames = [*named(), *held_out(settings.shards, settings.count)]
    write_geometries(settings.output / "teacher_geometries.extxyz", frames, calculator)


if __name__ == "__main__":
    main()
