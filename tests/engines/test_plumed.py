"""Calculators around ours: a harmonic restraint written here, and PLUMED where it is installed."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import all_changes
from ase.md.verlet import VelocityVerlet
from ase.stress import full_3x3_to_voigt_6_stress

from molequi.simulation.calculator import Calculator

PAIR, STIFFNESS, LENGTH = (0, 1), 3.0, 1.2  # rows, eV/Å², Å


class Restrained(AseCalculator):
    """What ASE's wrapping calculators do: ask the inner one, and add a bias of one distance."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.implemented_properties = [
            name for name in inner.implemented_properties if name in ("energy", "forces", "stress")
        ]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)  # `self.atoms` is a copy
        first, second = PAIR
        vector = self.atoms.get_distance(first, second, mic=True, vector=True)
        length = np.linalg.norm(vector)
        slope = STIFFNESS * (length - LENGTH) * vector / length
        forces = self.inner.get_forces(self.atoms).copy()
        forces[first] += slope
        forces[second] -= slope
        self.results["forces"] = forces
        bias = 0.5 * STIFFNESS * (length - LENGTH) ** 2
        self.results["energy"] = self.inner.get_potential_energy(self.atoms) + bias
        if "stress" in properties:
            strain = full_3x3_to_voigt_6_stress(np.outer(vector, slope))
            self.results["stress"] = self.inner.get_stress(self.atoms) + strain / atoms.cell.volume


def differences(value, rows, step=1e-4):
    """Return the slopes of value(shift), (len(rows), 3), at a shift of nothing."""
    slopes = np.zeros((rows, 3))
    for index in np.ndindex(rows, 3):
        shift = np.zeros((rows, 3))
        shift[index] = step
        slopes[index] = (value(shift) - value(-shift)) / (2 * step)
    return slopes


def test_a_biased_molecule_has_the_slopes_of_its_energy(network):
    atoms = molecule("CH3OH")
    atoms.calc = Restrained(Calculator(network))
    forces, start = atoms.get_forces(), atoms.positions.copy()
    assert np.abs(forces - Calculator(network).get_property("forces", atoms)).max() > 0.1

    def energy(shift):
        atoms.positions = start + shift
        return atoms.get_potential_energy()

    np.testing.assert_allclose(forces, -differences(energy, len(atoms)), atol=1e-6, rtol=0)


def test_a_biased_crystal_has_the_stress_of_its_energy(network):
    atoms = molecule("CH3OH", cell=[5.0, 5.5, 6.0], pbc=True)
    atoms.calc = Restrained(Calculator(network))
    stress, cell = atoms.get_stress(voigt=False), atoms.cell.array.copy()

    def energy(strain):
        atoms.set_cell(cell @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
        return atoms.get_potential_energy()

    expected = differences(energy, 3) / abs(np.linalg.det(cell))
    np.testing.assert_allclose(stress, expected, atol=1e-7, rtol=0)


def test_charge_and_spin_go_through_to_the_inner_calculator(long_ranged):
    """`info` travels with the copies that wrapping calculators make, from step to step."""
    energies = {}
    for charge in (-1, 1):
        atoms = molecule("CH3O")
        atoms.info.update(charge=charge, spin_multiplicity=1)
        inner = Calculator(long_ranged)
        atoms.calc = Restrained(inner)
        VelocityVerlet(atoms, 0.5 * units.fs).run(2)
        bias = 0.5 * STIFFNESS * (atoms.get_distance(*PAIR) - LENGTH) ** 2
        energies[charge] = atoms.get_potential_energy() - bias
        expected = Calculator(long_ranged, charge=charge, spin_multiplicity=1)
        assert energies[charge] == pytest.approx(expected.get_potential_energy(atoms), abs=1e-9)
        assert inner.electrons(inner.atoms) == (charge, 1)
    assert abs(energies[1] - energies[-1]) > 1e-3


def plumed_calculator(inner, atoms, lines, folder):
    from ase.calculators.plumed import Plumed

    pytest.importorskip("plumed", reason="pip install --no-deps hillclimber")
    lines = ["UNITS LENGTH=A TIME=fs", *lines]  # kJ/mol: its eV is 2.6e-7 apart from ASE's
    step = 0.5 * units.fs
    return Plumed(inner, lines, step, atoms, kT=300 * units.kB, log=str(folder / "plumed.log"))


@pytest.fixture
def periodic():
    return Atoms("OH2", [[3, 3, 3], [3.9, 3.1, 3], [2.8, 3.9, 3.1]], cell=[6.0] * 3, pbc=True)


def test_plumeds_restraint_adds_its_energy_forces_and_stress(network, periodic, tmp_path):
    restraint = f"RESTRAINT ARG=d AT={LENGTH} KAPPA={STIFFNESS / (units.kJ / units.mol)!r}"
    lines = ["d: DISTANCE ATOMS=1,2", restraint]
    expected = periodic.copy()
    expected.calc = Restrained(Calculator(network))
    with plumed_calculator(Calculator(network), periodic, lines, tmp_path) as periodic.calc:
        forces, energy = periodic.get_forces(), periodic.get_potential_energy()
        np.testing.assert_allclose(forces, expected.get_forces(), atol=1e-9, rtol=0)
        assert energy == pytest.approx(expected.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(periodic.get_stress(), expected.get_stress(), atol=1e-9, rtol=0)


def test_plumeds_metadynamics_drives_a_torsion(network, tmp_path):
    """Hills push the torsion away; without height the run is that of the calculator alone."""
    start = molecule("CH3OH")
    start.rattle(0.05, seed=0)  # in its plane of symmetry hills have no slope

    def turned(height):
        atoms = start.copy()
        torsion = "phi: TORSION ATOMS=3,1,2,4 NOPBC"
        hills = f"METAD ARG=phi PACE=5 HEIGHT={height} SIGMA=0.2 FILE={tmp_path}/HILLS{height}"
        lines = [torsion, f"m: {hills}"]
        with plumed_calculator(Calculator(network), atoms, lines, tmp_path) as atoms.calc:
            VelocityVerlet(atoms, 0.5 * units.fs).run(24)
        return atoms.positions

    alone = start.copy()
    alone.calc = Calculator(network)
    VelocityVerlet(alone, 0.5 * units.fs).run(24)
    np.testing.assert_allclose(turned(0.0), alone.positions, atol=1e-9, rtol=0)
    assert np.abs(turned(50.0) - alone.positions).max() > 0.01
