"""A program of ours in place of PySCF, and molecules whose properties are published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from molequi.labeling import workers
from molequi.labeling.levels import Molecule

BOHR = 0.529177210903
# Ruud et al., Chem. Phys. Lett. 373 (2003) 606, table 1, bohr.
CNOFH2 = (
    [6, 7, 8, 9, 1, 1],
    [
        [0.235331, -0.024799, 2.604937],
        [1.135707, 2.265012, 3.680713],
        [2.673760, -0.161604, 3.442526],
        [-0.131918, -0.013366, 0.087106],
        [0.626412, 2.288347, 5.557639],
        [-1.181567, -1.202414, 3.530770],
    ],
)
# The geometry to which psi4's tests (tdscf_reference_data.json) give Gaussian 09's excitations, Å.
METHYLOXIRANE = (
    [6, 6, 6, 8, 1, 1, 1, 1, 1, 1],
    [
        [0.152133, -0.035800, 0.485797],
        [-1.039475, 0.615938, -0.061249],
        [1.507144, 0.097806, -0.148460],
        [-0.828215, -0.788248, -0.239431],
        [0.153725, -0.249258, 1.552136],
        [-1.863178, 0.881921, 0.593333],
        [-0.949807, 1.214210, -0.962771],
        [2.076806, -0.826189, -0.036671],
        [2.074465, 0.901788, 0.325106],
        [1.414895, 0.315852, -1.212218],
    ],
)
WATER = ([8, 1, 1], [[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]])

# The charge says what happens; each molecule that is computed leaves a line in the file COUNT.
PROGRAM = """
import os, time
import numpy as np
from molequi.errors import UserError
from molequi.labeling.backend import LabelBackend
from molequi.labeling.levels import LabelError
from molequi.labeling.protocol import serve

class Program(LabelBackend):
    def check(self, level, elements):
        print("a greeting that is no answer", flush=True)
        if level.basis == "nosuch":
            raise UserError(f"no basis nosuch for {elements}")
        return "program 1.0"

    def compute(self, level, properties, molecule):
        os.system("echo noise of a child")
        with open(os.environ["COUNT"], "a") as file:
            file.write("x\\n")
        charge = molecule.charge
        if charge == 2:
            raise LabelError("no luck")
        if charge == 3:
            raise ZeroDivisionError("two\\nlines")
        if charge == 5:
            os.write(2, b"the last words\\n")
            os._exit(3)
        if charge == 6:
            os.kill(os.getpid(), 9)
        if charge == 7:
            time.sleep(300)
        first = molecule.positions[0]
        return {
            "energy": np.inf if charge == 4 else float(np.pi * first[0] + len(molecule.numbers)),
            "forces": molecule.positions / 3.0,
            "dipole": first / 7.0,
            "charges": molecule.positions[:, 0] / 11.0,
            "polarizability": np.diag(first),
            "rosenfeld": np.outer(first, [1.0, 0.1, -3.0]),
        }

if __name__ == "__main__":
    serve(Program())
"""


def molecule(geometry: tuple, unit: float = 1.0, **electrons: int) -> Molecule:
    """Make a molecule of numbers and positions."""
    return Molecule(np.array(geometry[0]), np.array(geometry[1]) * unit, **electrons)


@pytest.fixture
def cnofh2() -> Molecule:
    """Fluorooxaziridine."""
    return molecule(CNOFH2, BOHR)


@pytest.fixture
def methyloxirane() -> Molecule:
    """Methyloxirane, chiral."""
    return molecule(METHYLOXIRANE)


@pytest.fixture
def water() -> Molecule:
    """Water, in the yz plane, dipole along z."""
    return molecule(WATER)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Put our program in PySCF's place.

    Returns a function that counts the molecules computed so far.
    """
    (tmp_path / "a_program.py").write_text(PROGRAM)
    count = tmp_path / "count"
    count.touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("COUNT", str(count))
    monkeypatch.setattr(workers, "MODULES", {"pyscf": "a_program"})
    monkeypatch.setattr("molequi.labeling.levels.is_installed", lambda _name: True)
    return lambda: len(count.read_text().splitlines())
