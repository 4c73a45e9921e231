"""LAMMPS itself with `pair_style mliap unified`: the calculator's energies, forces and pressure.

It runs where the environment variable MOLEQUI_LAMMPS is the command of a LAMMPS with the packages
ML-IAP, PYTHON and KOKKOS whose Python finds molequi: `mpirun -n 2 lmp -k on t 1 -sf kk`.
"""

import os
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import units
from ase.calculators.lammps import Prism
from waters import turned_waters

from molequi.engines.lammps_mliap import export_mliap
from molequi.models.making import make_model
from molequi.models.physics import Physics
from molequi.simulation.calculator import Calculator

COMMAND = os.environ.get("MOLEQUI_LAMMPS", "")
pytestmark = pytest.mark.skipif(not COMMAND, reason="MOLEQUI_LAMMPS names no LAMMPS")

EXACT = 1e-10  # eV, eV/Å
TYPES = {"H": 1, "O": 2}
INPUT = """units metal
atom_style atomic
atom_modify map yes
read_data water.data
pair_style mliap unified model.pkl 0
pair_coeff * * H O
neighbor 1.0 bin
compute energies all pe/atom
dump all all custom 1 atoms.dump id x y z fx fy fz c_energies
dump_modify all format float %.17g sort id
fix move all nve
timestep 0.0002
thermo_style custom step pe press
run 0
print "pressure $(press:%.12g) bar" file pressure.txt
velocity all create 300 1
thermo_style custom step pe etotal
run 0
print "$(etotal:%.12g) $(pe:%.12g)" file first.txt
run 20
print "$(etotal:%.12g) $(pe:%.12g)" file last.txt
"""
NETWORKS = {
    "spherical": {"n_layers": 3, "held_below": 0.6, "physics": Physics(repulsion="zbl")},
    "mace": {"architecture": "mace", "n_layers": 2, "correlation": 2},
}


def waters():
    """Eighteen waters in a slanted cell."""
    cell = [[9.4, 0, 0], [0.8, 9.5, 0], [-0.5, 0.4, 6.3]]
    return turned_waters((3, 3, 2), 3.1, cell)


def write_data(atoms, prism, path):
    x = prism.vector_to_lammps(atoms.positions, wrap=True)
    a, b, c, xy, xz, yz = prism.get_lammps_prism()
    rows = [
        f"{number} {TYPES[symbol]} {' '.join(f'{value:.17g}' for value in position)}"
        for number, (symbol, position) in enumerate(zip(atoms.symbols, x, strict=True), start=1)
    ]
    box = f"0 {a:.17g} xlo xhi\n0 {b:.17g} ylo yhi\n0 {c:.17g} zlo zhi\n{xy} {xz} {yz} xy xz yz"
    head = f"waters\n\n{len(atoms)} atoms\n2 atom types\n{box}\n\nMasses\n\n1 1.008\n2 15.999\n\n"
    path.write_text(head + "Atoms # atomic\n\n" + "\n".join(rows) + "\n")


def first_frame(path):
    """Return the columns after x, y and z of every atom: forces and energy."""
    lines = path.read_text().split("ITEM: TIMESTEP")[1].splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("ITEM: ATOMS"))
    return np.array([line.split() for line in lines[start + 1 :]], dtype=float)[:, 4:]


@pytest.mark.parametrize("name", NETWORKS)
def test_lammps_has_the_calculators_numbers_and_conserves_energy(name, tmp_path):
    torch.manual_seed(0)
    settings = {"n_channels": 64, "cutoff": 4.0, "l_max": 2, **NETWORKS[name]}
    model = make_model([1, 8], ["energy", "forces"], **settings).double().eval()
    atoms = waters()
    prism = Prism(atoms.cell.array)
    export_mliap(model, tmp_path / "model.pkl")
    write_data(atoms, prism, tmp_path / "water.data")
    (tmp_path / "in.water").write_text(INPUT)
    command = [*shlex.split(COMMAND), "-in", "in.water"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]

    atoms.calc = Calculator(model, unsafe=True)
    found, forces = first_frame(tmp_path / "atoms.dump"), prism.vector_to_lammps(atoms.get_forces())
    assert np.abs(forces).max() > 0.05
    np.testing.assert_allclose(found[:, :3], forces, atol=EXACT, rtol=0)
    np.testing.assert_allclose(found[:, 3], atoms.get_potential_energies(), atol=EXACT, rtol=0)
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3 / (1e5 * units.Pascal)
    assert number(tmp_path / "pressure.txt", 1) == pytest.approx(pressure, rel=1e-6)  # constants
    total, potential = (
        number(tmp_path / "last.txt", place) - number(tmp_path / "first.txt", place)
        for place in (0, 1)
    )
    assert abs(total) < 2e-3 * abs(potential)


def number(path: Path, place: int) -> float:
    """Return a word of a file as a number."""
    return float(path.read_text().split()[place])
