"""Thermochemistry against ASE's ideal gas and GoodVibes' entropies; symmetry numbers of groups."""

import json

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.thermochemistry import IdealGasThermo

from molequi.errors import UserError
from molequi.simulation.symmetry_number import rotational_symmetry_number
from molequi.simulation.thermochemistry import (
    BAR,
    Gas,
    harmonic_entropies,
    quasi_harmonic_entropies,
    thermochemistry,
)
from molequi.simulation.vibrations import vibrations

WATER = np.array([1600.0, 3700.0, 3800.0])
# J/(mol K) at 298.15 K of modes at 12, 40, 100, 250 and 1600 cm^-1: calc_rrho_entropy,
# calc_freerot_entropy and calc_damp of GoodVibes 4.4.0, whose constants are rounded to six digits.
MODES = np.array([12.0, 40.0, 100.0, 250.0, 1600.0]) * units.invcm
HARMONIC = (32.00267, 22.00402, 14.45286, 7.24074, 0.03216)
QUASI_HARMONIC = (20.75231, 15.90763, 13.19847, 7.26308, 0.03217)


@pytest.mark.parametrize(
    ("name", "shape", "symmetry", "spin", "frequencies"),
    [
        ("H2O", "nonlinear", 2, 0, WATER),
        ("CO2", "linear", 2, 0, np.array([660.0, 660.0, 1300.0, 2300.0])),
        ("CH3", "nonlinear", 6, 0.5, np.array([500.0, 1400, 1400, 3000, 3200, 3200])),
        ("O", "monatomic", 1, 1, np.zeros(0)),
    ],
)
@pytest.mark.parametrize(("temperature", "pressure"), [(298.15, 1.01325), (500.0, 20.0)])
def test_harmonic_functions_are_those_of_ase(
    name, shape, symmetry, spin, frequencies, temperature, pressure
):
    atoms = molecule(name)
    gas = Gas(
        frequencies, atoms.positions, atoms.get_masses(), shape == "linear", symmetry,
        int(2 * spin + 1), temperature, pressure,
    )  # fmt: skip
    ours = thermochemistry(gas).harmonic
    oracle = IdealGasThermo(
        frequencies * units.invcm, shape, atoms=atoms, symmetrynumber=symmetry, spin=spin
    )
    state = {"temperature": temperature, "pressure": pressure * BAR, "verbose": False}
    assert ours.enthalpy == pytest.approx(oracle.get_enthalpy(temperature, verbose=False))
    assert ours.entropy == pytest.approx(oracle.get_entropy(**state))
    assert ours.gibbs_energy == pytest.approx(oracle.get_gibbs_energy(**state))
    assert ours.internal_energy == pytest.approx(ours.enthalpy - units.kB * temperature)


def test_entropies_of_modes_are_those_of_goodvibes():
    molar = units._e * units._Nav
    np.testing.assert_allclose(
        harmonic_entropies(MODES, 298.15) * molar, HARMONIC, rtol=3e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        quasi_harmonic_entropies(MODES, 298.15) * molar, QUASI_HARMONIC, rtol=3e-5, atol=1e-5
    )


def test_a_stiff_mode_is_harmonic_and_a_soft_one_stays_finite():
    soft, stiff = np.array([1e-9]) * units.invcm, np.array([600.0]) * units.invcm
    assert quasi_harmonic_entropies(stiff, 300.0) == pytest.approx(
        harmonic_entropies(stiff, 300.0), rel=0.02
    )
    assert quasi_harmonic_entropies(soft, 300.0) < 0.8 * harmonic_entropies(soft, 300.0)


@pytest.mark.filterwarnings("error")
def test_in_the_cold_modes_are_frozen_without_an_overflow():
    atoms = molecule("H2O")
    gas = Gas(WATER, atoms.positions, atoms.get_masses(), False, 2, temperature=1.0)
    zero_point = 0.5 * WATER.sum() * units.invcm
    assert harmonic_entropies(WATER * units.invcm, 1.0) == pytest.approx(0.0, abs=1e-300)
    assert thermochemistry(gas).harmonic.internal_energy == pytest.approx(
        zero_point + 3.0 * units.kB, rel=1e-12
    )


def test_imaginary_modes_add_nothing():
    atoms = molecule("H2O")
    gas = [atoms.positions, atoms.get_masses(), False, 2]
    with_one = Gas(np.array([-400.0, *WATER[1:]]), *gas)
    assert thermochemistry(with_one) == thermochemistry(Gas(WATER[1:], *gas))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("H2O", 2), ("NH3", 3), ("CH4", 12), ("C2H4", 4), ("C2H6", 6), ("C6H6", 12),
        ("CO2", 2), ("HCN", 1), ("CH3OH", 1), ("H2O2", 2), ("SF6", 24), ("C3H4_D2d", 4),
        ("BF3", 6), ("trans-butane", 2), ("P2", 2), ("O", 1), ("bicyclobutane", 2),
    ],
)  # fmt: skip
def test_symmetry_numbers_of_point_groups(name, number):
    """Of C2v, C3v, Td, D2h, D3d, D6h, Dooh, Coov, Cs, C2, Oh, D2d, D3h, C2h."""
    if name == "SF6":
        atoms = Atoms("SF6", [[0, 0, 0], *1.56 * np.eye(3), *-1.56 * np.eye(3)])
    else:
        atoms = molecule(name)
    atoms.rotate(40, (1, 2, 3))
    atoms.translate([3.0, -2.0, 1.0])
    linear = name in {"CO2", "HCN", "P2"}
    found = rotational_symmetry_number(
        atoms.numbers, atoms.positions, atoms.get_masses(), is_linear=linear
    )
    assert found == number


@pytest.mark.parametrize("n", [5, 6, 7, 8])
def test_symmetry_number_of_a_ring_depends_on_neither_order_nor_place(n):
    """Of D_nh: 2 n. Atoms of a plane ring may be turned onto each other under another angle."""
    angles = 2.0 * np.pi * np.arange(n) / n
    ring = np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)
    size = 0.7 / np.sin(np.pi / n)
    atoms = Atoms(f"C{n}H{n}", np.concatenate([size * ring, (size + 1.09) * ring]))
    random = np.random.default_rng(0)
    for _ in range(40):
        order = random.permutation(len(atoms))
        moved = atoms[order]
        found = rotational_symmetry_number(
            moved.numbers, moved.positions, moved.get_masses(), is_linear=False
        )
        assert found == 2 * n
        atoms.rotate(random.uniform(0.0, 360.0), random.normal(size=3))


def test_a_straight_molecule_needs_no_word_that_it_is_straight():
    """Of conformers one may be straight beside others that are not."""
    for name, number in (("CO2", 2), ("HCN", 1)):
        atoms = molecule(name)
        found = rotational_symmetry_number(
            atoms.numbers, atoms.positions, atoms.get_masses(), is_linear=False
        )
        assert found == number


def test_isotopes_lower_the_symmetry_number():
    atoms = molecule("NH3")
    masses = atoms.get_masses()
    masses[1] = 2.014
    found = rotational_symmetry_number(atoms.numbers, atoms.positions, masses, is_linear=False)
    assert found == 1


def test_vibrations_give_functions_with_the_electronic_energy(morse, tmp_path):
    folder = tmp_path / "vibrations"
    result = vibrations(
        molecule("H2O"), morse(), temperature=400.0, pressure=2.0, films=True, output=folder
    )
    found = result["thermochemistry"]
    atoms = ase.io.read(folder / "structure.xyz")
    oracle = IdealGasThermo(
        np.array(result["frequencies_cm1"]) * units.invcm, "nonlinear",
        potentialenergy=result["energy"], atoms=atoms, symmetrynumber=2, spin=0,
    )  # fmt: skip
    assert found["symmetry_number"] == 2
    expected = oracle.get_gibbs_energy(400.0, 2.0 * BAR, verbose=False)
    assert found["harmonic"]["gibbs_energy_ev"] == pytest.approx(expected, abs=1e-9)
    stored = json.loads((folder / "result.json").read_text())["thermochemistry"]
    assert stored["quasi_harmonic"]["gibbs_energy_ev"] > stored["harmonic"]["gibbs_energy_ev"] - 1
    films = sorted((folder / "films").iterdir())
    assert [film.name for film in films] == ["mode_000.xyz", "mode_001.xyz", "mode_002.xyz"]
    frames = ase.io.read(films[2], ":")
    np.testing.assert_allclose(frames[0].positions, atoms.positions, atol=1e-7)
    largest = np.linalg.norm(frames[5].positions - atoms.positions, axis=1).max()
    assert largest == pytest.approx(0.35, abs=1e-6)
    centres = [frame.get_center_of_mass() for frame in frames]
    np.testing.assert_allclose(centres, [centres[0]] * len(frames), atol=1e-6)


def test_crystals_have_none_and_impossible_states_are_refused(morse):
    ice = molecule("H2O", cell=[6.0, 6.0, 6.0], pbc=True)
    assert vibrations(ice, morse(), relax_first=False)["thermochemistry"] is None
    with pytest.raises(UserError, match="temperature is 0"):
        vibrations(molecule("H2O"), morse(), temperature=0.0)
    with pytest.raises(UserError, match="pressure is -1"):
        vibrations(molecule("H2O"), morse(), pressure=-1.0)
    with pytest.raises(UserError, match="symmetry number is 0"):
        vibrations(molecule("H2O"), morse(), symmetry_number=0)
