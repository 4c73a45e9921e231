"""Vibrations against ASE's finite differences and against closed forms."""

import csv
import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.data import atomic_masses
from ase.vibrations import Infrared, Vibrations

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.nn.response import output_derivative
from molequi.simulation.calculator import Calculator
from molequi.simulation.intensities import infrared_intensities
from molequi.simulation.normal_modes import NormalModes, normal_modes
from molequi.simulation.relaxation import relax_atoms
from molequi.simulation.vibrations import vibrations


def relaxed(atoms, model):
    atoms.calc = Calculator(model)
    return relax_atoms(atoms, fmax=1e-6, steps=300).atoms


@pytest.fixture
def water(morse):
    return relaxed(molecule("H2O"), morse())


def test_water_agrees_with_ase(morse, water, tmp_path):
    oracle = Infrared(water, delta=1e-3, name=str(tmp_path / "ir"))
    oracle.run()
    expected = oracle.get_frequencies()[6:].real
    result = vibrations(water, morse(), fmax=1e-6)
    np.testing.assert_allclose(result["frequencies_cm1"], expected, rtol=1e-4, atol=0.1)
    factor = oracle.intensity_prefactor("km/mol")[0]
    np.testing.assert_allclose(result["ir_km_mol"], oracle.intensities[6:] * factor, rtol=2e-3)
    assert result["zpe_ev"] == pytest.approx(oracle.get_energies()[6:].real.sum() / 2, rel=1e-4)
    assert (result["n_imaginary"], result["linear"], result["converged"]) == (0, False, True)


def test_random_network_agrees_with_ase(network, tmp_path):
    """No minimum here, so rotations mix with the rest in ASE.

    The projected matrix of its Hessian is compared.
    """
    atoms = molecule("CH3OH")
    atoms.calc = Calculator(network)
    oracle = Vibrations(atoms, delta=1e-3, name=str(tmp_path / "vib"))
    oracle.run()
    hessian = oracle.get_vibrations().get_hessian_2d()
    expected = normal_modes(hessian, atoms.get_masses(), atoms.positions)
    result = vibrations(atoms, network, relax_first=False)
    np.testing.assert_allclose(
        result["frequencies_cm1"],
        expected.frequencies,
        atol=0.05 * np.abs(expected.frequencies).max() ** 0.5,
    )
    assert len(result["frequencies_cm1"]) == 3 * 6 - 6
    assert result["converged"] is None


def test_diatomic_has_its_one_frequency(morse):
    model = morse()
    atoms = relaxed(Atoms("CO", positions=[[0, 0, 0], [0.3, 0.4, 1.0]]), model)
    result = vibrations(atoms, model, fmax=1e-6)
    r = atoms.get_distance(0, 1)

    def potential(r):
        return 8.0 * ((1 - np.exp(-2.3 * (r - 1.16))) ** 2 - 1) * (1 - (r / 5.0) ** 2) ** 3

    spring = (potential(r + 1e-3) - 2 * potential(r) + potential(r - 1e-3)) / 1e-6
    reduced = np.prod(atoms.get_masses()) / atoms.get_masses().sum()
    energy = units._hbar * np.sqrt(spring * units._e * 1e20 / (reduced * units._amu)) / units._e
    assert result["linear"] is True
    assert result["frequencies_cm1"] == pytest.approx([energy / units.invcm], rel=1e-4)
    assert result["zpe_ev"] == pytest.approx(energy / 2, rel=1e-4)


def test_linear_triatomic_has_a_degenerate_bend_and_a_silent_stretch(morse):
    """CO2: 3N - 5 modes; the symmetric stretch moves no dipole."""
    model = morse()
    atoms = molecule("CO2")
    atoms.rotate(30, (1, 2, 3))
    result = vibrations(atoms, model, fmax=1e-5)
    bend, bend_too, symmetric, asymmetric = result["frequencies_cm1"]
    assert result["linear"] is True
    assert bend == pytest.approx(bend_too, abs=0.1)
    assert 0 < bend < symmetric < asymmetric
    intensities = result["ir_km_mol"]
    assert intensities[2] < 1e-6
    assert intensities[3] > 1
    assert intensities[0] == pytest.approx(intensities[1], rel=1e-3)


def test_nearly_straight_counts_as_straight(morse):
    atoms = relaxed(molecule("CO2"), morse())
    bent = atoms.copy()
    bent.positions[0] += [0.005, 0.0, 0.0]
    assert len(vibrations(bent, morse(), relax_first=False)["frequencies_cm1"]) == 4
    bent.positions[0] += [0.1, 0.0, 0.0]
    assert len(vibrations(bent, morse(), relax_first=False)["frequencies_cm1"]) == 3


def test_single_atom_has_no_vibrations(morse):
    result = vibrations(Atoms("O"), morse())
    assert (result["frequencies_cm1"], result["zpe_ev"], result["linear"]) == ([], 0.0, False)


def test_imaginary_modes_are_negative_and_counted(morse):
    """Water pressed straight is a saddle point: its bend leads away."""
    atoms = Atoms("OHH", positions=[[0, 0, 0], [0.85, 0, 0], [-0.85, 0, 0]])
    result = vibrations(atoms, morse(), relax_first=False)
    assert result["linear"] is True
    assert result["n_imaginary"] == 2
    assert result["frequencies_cm1"][0] < -100
    positive = np.array(result["frequencies_cm1"])[2:]
    assert result["zpe_ev"] == pytest.approx(positive.sum() / 2 * units.invcm)


def test_frame_and_place_change_nothing(morse, water):
    moved = water.copy()
    moved.rotate(70, (1, -2, 3))
    moved.translate([5.0, -3.0, 2.0])
    one, two = (vibrations(atoms, morse(), relax_first=False) for atoms in (water, moved))
    np.testing.assert_allclose(one["frequencies_cm1"], two["frequencies_cm1"], atol=1e-4)
    np.testing.assert_allclose(one["ir_km_mol"], two["ir_km_mol"], rtol=1e-8)


def test_intensity_unit():
    """One (D/Å)²/amu is 42.2561 km/mol."""
    modes = normal_modes(
        np.diag([0, 0, 0, 1.0, 0, 0]), np.array([1e12, 1.0]), np.array([[0, 0, 0], [1.0, 0, 0]])
    )
    derivative = np.zeros((3, 2, 3))
    derivative[0, 1, 0] = units.Debye
    assert infrared_intensities(modes, derivative, np.array([1e12, 1.0])) == pytest.approx(
        [42.2561], rel=1e-5
    )


def test_periodic_structure_keeps_its_librations(morse):
    atoms = molecule("H2O", cell=[6.0, 6.0, 6.0], pbc=True)
    result = vibrations(atoms, morse(), fmax=1e-4)
    assert len(result["frequencies_cm1"]) == 6
    assert result["ir_km_mol"] is None


def test_model_without_a_dipole_gives_no_intensities(morse, water):
    assert vibrations(water, morse(outputs=("energy",)))["ir_km_mol"] is None


def test_dipole_derivative_is_that_of_the_dipole(network):
    atoms = molecule("NH3")
    atoms.calc = Calculator(network)
    derivative = output_derivative(network, atoms.calc.graph(atoms), "dipole").cpu().numpy()
    for atom, axis in ((0, 2), (1, 0), (3, 1)):
        sides = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[atom, axis] += step
            moved.calc = Calculator(network)
            sides.append(moved.get_dipole_moment())
        np.testing.assert_allclose(
            derivative[:, atom, axis], (sides[0] - sides[1]) / 2e-4, atol=1e-6
        )


def test_files(morse, tmp_path):
    folder = tmp_path / "vib"
    result = vibrations(molecule("H2O"), morse(), output=folder)
    with (folder / "frequencies.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["frequency [cm^-1]"]) for row in rows] == result["frequencies_cm1"]
    assert [row["imaginary"] for row in rows] == ["no"] * 3
    modes = ase.io.read(folder / "modes.xyz", ":")
    assert [atoms.info["frequency_cm1"] for atoms in modes] == pytest.approx(
        result["frequencies_cm1"]
    )
    assert np.linalg.norm(modes[0].arrays["mode"], axis=1).max() == pytest.approx(1.0)
    assert ase.io.read(folder / "structure.xyz").get_potential_energy() == pytest.approx(
        result["energy"]
    )
    assert json.loads((folder / "result.json").read_text())["zpe_ev"] == result["zpe_ev"]
    with pytest.raises(UserError, match="exists already"):
        vibrations(molecule("H2O"), morse(), output=folder)
    vibrations(molecule("H2O"), morse(), output=folder, overwrite=True)


def test_named_models_run_in_float64(tmp_path):
    from molequi.models.checkpoint import save_model

    path = tmp_path / "model.safetensors"
    save_model(make_model([1, 8], ["energy"], n_layers=1, n_channels=8), path)
    single = vibrations(molecule("H2O"), path, relax_first=False)
    double = vibrations(molecule("H2O"), Calculator(path, dtype="float64"), relax_first=False)
    assert single["frequencies_cm1"] == double["frequencies_cm1"]
    assert torch.get_default_dtype() == torch.float32


def test_unrelaxed_and_unconverged_are_told(morse, caplog, monkeypatch):
    squeezed = Atoms("CO", positions=[[0, 0, 0], [1.0, 0, 0]])
    result = vibrations(squeezed, morse(), relax_first=False)
    assert result["fmax"] > 1
    assert "away from a minimum" in caplog.text
    monkeypatch.setattr("molequi.simulation.harmonic._RELAXATION_STEPS", 1)
    assert vibrations(squeezed, morse())["converged"] is False


def test_isotopes_of_an_ion_move_the_origin_of_its_dipole(network):
    """In H2D+ charge moves against the centre of its own masses: about that it must be counted."""
    ion = molecule("NH3")
    ion.info["charge"] = 1
    masses = ion.get_masses()
    masses[1] = 2.0141018
    ion.set_masses(masses)
    calculator = Calculator(network, unsafe=True)
    result = vibrations(ion, calculator, relax_first=False)

    def dipole(displacement):
        """The dipole about the centre of the ion's own masses, e·Å."""
        moved = ion.copy()
        moved.positions += displacement
        moved.calc = calculator
        standard = atomic_masses[ion.numbers] / atomic_masses[ion.numbers].sum()
        shift = (standard - masses / masses.sum()) @ moved.positions
        return moved.get_dipole_moment() + shift

    modes = normal_modes(
        network.hessian(calculator.graph(ion)).numpy(), masses, ion.positions
    ).weighted
    directions = modes / np.sqrt(masses)[None, :, None]
    step = 1e-3
    slopes = [(dipole(step * d) - dipole(-step * d)) / (2 * step) for d in directions]
    expected = np.square(slopes).sum(axis=1) * (
        units._Nav * units._e**2 / (12 * units._eps0 * units._c**2 * units._amu * 1000)
    )
    np.testing.assert_allclose(result["ir_km_mol"], expected, rtol=1e-4, atol=1e-6)
    standard_alone = infrared_intensities(
        NormalModes(np.zeros(len(modes)), modes, False),
        output_derivative(network, calculator.graph(ion), "dipole").numpy(),
        masses,
    )
    assert np.abs(standard_alone - expected).max() > 1e-3 * expected.max()


def test_a_model_with_doubts_says_the_largest():
    atoms = molecule("H2O")
    result = vibrations(atoms, "organic", relax_first=False)
    atoms.calc = Calculator("organic", dtype="float64")
    expected = atoms.calc.get_property("forces_std", atoms).max()
    assert result["max_forces_std"] == pytest.approx(expected, rel=1e-6)
