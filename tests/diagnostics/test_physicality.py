"""Physicality without data: a calculator known in closed form passes, planted faults are found."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.data import atomic_numbers, covalent_radii
from ase.optimize import BFGS

from molequi.diagnostics.bounds import BOUNDS
from molequi.diagnostics.dimer_plot import plot_dimers
from molequi.diagnostics.dimers import DimerCurve
from molequi.diagnostics.known_molecules import flat_rings, known_molecules
from molequi.diagnostics.model_runner import ModelRunner
from molequi.diagnostics.physicality import check_physics
from molequi.diagnostics.shapes import out_of_plane, relaxed
from molequi.errors import UserError
from molequi.testing.calculators import CalculatorModel, structure_of

ELEMENTS = (1, 17)
DEPTH, WIDTH = 4.0, 1.9  # eV, 1/Å
WRONG = {"minus": -1.0, "half": 0.5, "none": 0.0, "nan": np.nan}  # factors of forces


class Morse(Calculator):
    """Morse curves between all atoms, least at the sum of the covalent radii; faults to plant."""

    implemented_properties = ("energy", "forces")

    def __init__(self, fault=None):
        super().__init__()
        self.fault = fault

    def calculate(self, atoms=None, properties=None, system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if self.fault == "fails" and 17 in atoms.numbers:
            raise RuntimeError("no chlorine today")
        i, j = np.triu_indices(len(atoms), 1)
        vectors = atoms.positions[j] - atoms.positions[i]
        r = np.linalg.norm(vectors, axis=1)
        x = np.exp(
            -WIDTH * (r - covalent_radii[atoms.numbers[i]] - covalent_radii[atoms.numbers[j]])
        )
        energies, slopes = DEPTH * (x * x - 2 * x), 2 * DEPTH * WIDTH * (x - x * x)
        energies, slopes = self.with_fault(r, energies, slopes, atoms.numbers[i] + atoms.numbers[j])
        pulls = (slopes / r)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pulls)
        np.add.at(forces, j, -pulls)
        energy = energies.sum()
        if self.fault == "mean field":
            energy, forces = energy * (1 + 0.01 * len(atoms)), forces * (1 + 0.01 * len(atoms))
        if self.fault == "turned":
            energy = energy + 2.0 * atoms.positions[:, 2].std()
        if self.fault == "swirl":
            forces = forces + 5.0 * np.cross([0.0, 0.0, 1.0], atoms.positions)
        forces = forces * {"minus": -1.0, "half": 0.5, "none": 0.0, "nan": np.nan}.get(
            self.fault, 1.0
        )
        self.results = {"energy": float(energy), "forces": forces}

    def with_fault(self, r, energies, slopes, kinds):
        if self.fault == "hole":  # a Gaussian well of 60 eV at 0.4 Å between hydrogens
            well = -60.0 * np.exp(-(((r - 0.4) / 0.05) ** 2)) * (kinds == 2)
            return energies + well, slopes - 2 * (r - 0.4) / 0.05**2 * well
        if self.fault == "ripple":
            wave = 0.3 * np.exp(-r)
            return energies + wave * np.cos(8 * r), slopes - wave * (
                8 * np.sin(8 * r) + np.cos(8 * r)
            )
        if self.fault == "jump":
            return energies + 0.05 * (r < 1.5), slopes
        if self.fault == "steep and jump":
            energies = energies + 0.05 * (r < 2.5)
        if self.fault in {
            "steep",
            "steep and jump",
        }:  # a smooth rise of 1 eV within 0.1 Å is no jump
            t = np.tanh((r - 1.5) / 0.05)
            return energies - 0.5 * (1 - t), slopes + 10.0 * (1 - t * t)
        return energies, slopes


def failed(fault=None):
    report = check_physics(CalculatorModel(Morse(fault), elements=ELEMENTS))
    return {name for name, item in report.measurements.items() if not item.ok}, report


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (None, set()),
        ("hole", {"dimer_holes", "dimer_minima"}),
        ("ripple", {"dimer_minima"}),
        ("jump", {"dimer_jumps"}),
        ("steep", set()),
        ("steep and jump", {"dimer_jumps"}),
        ("mean field", {"ghost_atoms", "extensivity"}),
        ("turned", {"rotation_energy", "extensivity", "dimer_jumps"}),
        ("swirl", {"translation_forces", "rotation_forces", "jacobian_asymmetry"}),
        ("fails", {"dimer_failures"}),
    ],
)
def test_planted_faults_are_found_by_their_tests(fault, found):
    names, report = failed(fault)
    names -= {"bond_lengths"}  # Morse bonds have the lengths of the radii, not those of nature
    if fault in {"swirl", "fails"}:
        assert found <= names, report.measurements
    else:
        assert names == found, {n: report.measurements[n] for n in names ^ found}
    assert {report.measurements[name].unit for name in names} <= {b.unit for b in BOUNDS.values()}


@pytest.mark.parametrize("fault", WRONG)
def test_forces_that_are_not_those_of_the_energy_are_found(fault):
    """Smooth as they are: finer steps make each misfit smaller, but not their sum."""
    names, _ = failed(fault)
    assert "dimer_jumps" in names


def test_sizes_are_those_planted():
    _, report = failed("jump")
    assert report.measurements["dimer_jumps"].value == pytest.approx(0.05, abs=1e-3)
    assert "1.50 Å" in report.measurements["dimer_jumps"].where


def test_failures_are_counted_and_named():
    _, report = failed("fails")
    item = report.measurements["dimer_failures"]
    assert item.value == 2  # H-Cl and Cl-Cl
    assert "no chlorine today" in item.where
    assert np.isnan(report.measurements["bond_lengths"].value)
    assert [curve.name for curve in report.curves] == ["H-H"]


def test_bond_lengths_of_morse_pairs_are_their_radii():
    _, report = failed()
    lengths = {"HH": 0.7414, "ClCl": 1.9879, "HCl": 1.2746}
    radii = covalent_radii[[1, 17]]
    sums = {"HH": 2 * radii[0], "ClCl": 2 * radii[1], "HCl": radii.sum()}
    worst = max(lengths, key=lambda name: abs(sums[name] - lengths[name]))
    item = report.measurements["bond_lengths"]
    assert item.value == pytest.approx(abs(sums[worst] - lengths[worst]), abs=2e-3)
    assert worst in item.where


class Counting(Morse):
    """Refuses electrons that cannot be paired as it is told."""

    def calculate(self, atoms=None, properties=None, system_changes=()):
        unpaired = round(atoms.get_initial_magnetic_moments().sum())
        assert atoms.info["spin_multiplicity"] == unpaired + 1
        if (atoms.numbers.sum() - unpaired) % 2:
            raise RuntimeError("an odd electron")
        super().calculate(atoms, properties, system_changes)


def test_electrons_of_dimers_are_those_of_their_atoms():
    report = check_physics(CalculatorModel(Counting(), elements=(1, 8)))
    assert report.measurements["dimer_failures"].value == 0  # OH has one unpaired electron
    assert np.isfinite(report.measurements["ghost_atoms"].value)


def curve(energies, distances=None):
    distances = np.linspace(0.3, 3.0, len(energies)) if distances is None else distances
    return DimerCurve((1, 1), distances, np.asarray(energies), -np.gradient(energies, distances))


def test_counts_of_curves():
    r = np.linspace(0.31, 4.0, 800)
    assert curve(np.exp(-r), r).n_minima() == 0
    assert curve((r - 1) ** 2, r).n_minima() == 1
    assert curve(np.cos(4 * np.pi * r), r).n_minima() == 7
    assert curve(1e-4 * np.cos(4 * np.pi * r), r).n_minima() == 0  # forces of 1 meV/Å are none
    assert curve(np.exp(-r), r).hole()[0] == 0.0
    # Between 0.31 and 0.434 Å an energy that falls inward by 1 eV/Å has a hole of that depth.
    assert curve(r, r).hole()[0] == pytest.approx(0.124, abs=0.01)


def test_relaxation_agrees_with_ase():
    start = molecule("H2O")
    start.numbers[:] = [17, 1, 1]
    atoms = start.copy()
    atoms.calc = Morse()
    BFGS(atoms, logfile=None).run(fmax=1e-4, steps=500)
    found = relaxed(ModelRunner(CalculatorModel(Morse())), structure_of(start, "start"))
    there = Atoms(atoms.numbers, found.positions).get_all_distances()
    assert there == pytest.approx(atoms.get_all_distances(), abs=1e-3)


def test_known_molecules_are_near_their_bonds_and_rings_are_flat():
    everything = [*range(1, 119)]
    molecules = known_molecules(everything)
    assert len(molecules) > 30
    for structure, bonds in molecules:
        for i, j, length in bonds:
            found = np.linalg.norm(structure.positions[i] - structure.positions[j])
            assert found == pytest.approx(length, abs=0.06), structure.name
    rings = flat_rings(everything)
    assert {"benzene", "thiophene"} <= {ring.name for ring in rings}
    assert all(out_of_plane(ring.positions) < 0.02 for ring in rings)
    known = {int(z) for one in molecules for z in one.structure.atomic_numbers}
    assert {atomic_numbers[s] for s in "H B C N O F Si P S Cl As Se Br I".split()} <= known
    assert {one.structure.name for one in known_molecules([1, 8])} == {"HH", "water"}


def test_diatomic_constants_give_published_moments_of_inertia():
    """Rotational constants of Huber and Herzberg, cm^-1: H35Cl 10.5934, 12C16O 1.93128."""
    masses = {"HCl": (1.00783, 34.96885), "CO": (12.0, 15.99491)}
    constants = {"HCl": 10.5934, "CO": 1.93128}
    for one in known_molecules([*range(1, 119)]):
        name = one.structure.name
        if name in masses:
            m, n = masses[name]
            inertia = m * n / (m + n) * units._amu * (one.bonds[0].length * 1e-10) ** 2
            constant = units._hplanck / (8 * np.pi**2 * units._c * 100 * inertia)
            assert constant == pytest.approx(constants[name], rel=1e-3)


def test_a_model_without_energy_is_refused(morse):
    with pytest.raises(UserError, match="no energy with forces"):
        check_physics(morse(outputs=("charges",)))


def test_a_model_passes_where_it_is_known_in_closed_form(morse, tmp_path):
    """Pairs alone: rings are not flat and bonds not right, but curves and far atoms are."""
    report = check_physics(morse(cutoff=6.0))
    wrong = {name for name, item in report.measurements.items() if not item.ok}
    assert wrong <= {"bond_lengths", "ring_planarity"}
    assert len(report.curves) == 10
    assert all(one.n_minima() == 1 for one in report.curves)
    plot_dimers(report.curves, tmp_path / "dimers.png")
    assert (tmp_path / "dimers.png").read_bytes().startswith(b"\x89PNG")
