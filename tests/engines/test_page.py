"""The page's Python blocks for programs that are installed: each runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "engines.md"
IN_WATER = """units metal
boundary f f f
atom_style atomic
atom_modify map yes
region box block -5 5 -5 5 -5 5
create_box 2 box
create_atoms 2 single 0 0 0
create_atoms 1 single 0.76 0.59 0
create_atoms 1 single -0.76 0.59 0
mass 1 1.008
mass 2 15.999
pair_style zero 2.0
pair_coeff * *
timestep 0.0005
fix move all nve
"""


def block(heading, number=0):
    """Return a Python block below a heading of the page."""
    text = PAGE.read_text(encoding="utf-8")
    part = re.split(r"^## ", text.partition(f"\n## {heading}\n")[2], flags=re.MULTILINE)[0]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)[number]


def write_waters(path):
    """Write two waters in a box, named as force fields want them."""
    pair, names = Atoms(), ["O", "H1", "H2"]
    for shift in (2.0, 6.0):
        water = molecule("H2O")
        water.translate([shift, 5.0, 5.0])
        pair += water
    lines = ["CRYST1   25.000   25.000   25.000  90.00  90.00  90.00 P 1           1"]
    for k, (symbol, (x, y, z)) in enumerate(zip(pair.symbols, pair.positions, strict=True)):
        lines.append(
            f"ATOM  {k + 1:5d}  {names[k % 3]:<3} HOH A{k // 3 + 1:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {symbol:>2}"
        )
    path.write_text("\n".join([*lines, "END", ""]))


def write_molecule(path):
    made = subprocess.run([sys.executable, "-c", block("OpenMM")], cwd=path.parent, check=False)
    assert made.returncode == 0
    assert path.read_text().count("HETATM") == 6


BLOCKS = {
    "torch-sim": ("torch_sim", "torch-sim", 0, None, None),
    "OpenMM": ("openmmml", "OpenMM", 1, "molecule.pdb", write_molecule),
    "OpenMM, a part": ("openmmml", "OpenMM", 2, "waters.pdb", write_waters),
    "LAMMPS": ("lammps", "LAMMPS", 0, "in.water", lambda path: path.write_text(IN_WATER)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_of_the_page_runs(name, tmp_path):
    package, heading, number, given, write = BLOCKS[name]
    pytest.importorskip(package, reason=f"{heading} is not installed")
    if given is not None:
        write(tmp_path / given)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", block(heading, number)]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{run.stdout[-1000:]}\n{run.stderr[-3000:]}"
    if name == "torch-sim":
        energies = np.array(re.findall(r"-\d+\.\d+", run.stdout), dtype=float)
        assert len(energies) == 3
