"""The teacher as an ASE calculator: the mean of its four networks, energies, forces and charges.

    molequi evaluate --calculator ./data/recipes/teacher_calculator.py:make s66

Needs torch and the files of PyPI's Auto3D 2.3.1 (MIT; `pip install --no-deps`).
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

# Found as a neighbour also where this file is not run as a script of its folder.
sys.path.append(str(Path(__file__).parent))
import teacher_aimnet as aimnet
import teacher_molecules as molecules

TEACHER_FILE = "models/aimnet2_wb97m_ens_f.jpt"
NUMBERS = frozenset({1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 53})


class TeacherCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and charges (e) of closed shells; charge from `info`."""

    implemented_properties = ("energy", "forces", "charges")

    def __init__(self, teacher: aimnet.Teacher) -> None:
        """Take the loaded networks."""
        super().__init__()
        self.teacher = teacher

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Label the structure; raise ValueError for elements and spins that the teacher lacks."""
        super().calculate(atoms, properties, system_changes)
        found = self.atoms
        charge = int(found.info.get("charge", 0))
        if unknown := set(found.numbers.tolist()) - NUMBERS:
            raise ValueError(f"the teacher does not know the elements {sorted(unknown)}")
        if (int(found.numbers.sum()) - charge) % 2 or found.info.get("spin_multiplicity", 1) != 1:
            raise ValueError("the teacher knows closed shells alone")
        numbers, positions = np.array(found.numbers), np.array(found.positions)
        (label,) = self.teacher.label([aimnet.Structure(numbers, positions, charge)])
        self.results = {
            "energy": label.energy,
            "free_energy": label.energy,
            "forces": label.forces,
            "charges": label.charges,
        }

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed; a charge written into `info` counts."""
        changes = super().check_state(atoms, tol)
        if self.atoms is not None and self.atoms.info.get("charge") != atoms.info.get("charge"):
            changes.append("initial_charges")
        return changes


def make() -> TeacherCalculator:
    """Load the teacher from the installed package."""
    return TeacherCalculator(aimnet.Teacher(molecules.package_file("Auto3D", TEACHER_FILE)))
