"""Rotational constants against published ones, and against ASE's moments of inertia."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from molequi.simulation.rotation import rotational_constants
from molequi.simulation.vibrations import vibrations
from molequi.structures.readers import read_structures

# B_e in cm^-1 at r_e in Å: K. P. Huber, G. Herzberg, Constants of Diatomic Molecules (1979), as in
# the NIST Chemistry WebBook.
DIATOMICS = [
    ("[1H][1H]", 0.74144, 60.853),
    ("[1H]D", 0.74142, 45.655),
    ("DD", 0.74152, 30.443),
    ("[12C][16O]", 1.128323, 1.93128),
    ("[1H][35Cl]", 1.274552, 10.59341),
]
# A, B, C of the ground state in cm^-1: G. Herzberg, Electronic Spectra of Polyatomic Molecules
# (1966), table 58; vibration changes them by 1 to 3 %.
WATERS = {"HH": (27.877, 14.512, 9.285), "HD": (23.38, 9.102, 6.417), "DD": (15.38, 7.25, 4.835)}


def read(tmp_path, symbols, positions):
    path = tmp_path / "a.xyz"
    rows = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(symbols, positions, strict=True)]
    path.write_text("\n".join([str(len(rows)), "", *rows, ""]))
    return next(read_structures(path))[1]


@pytest.mark.parametrize(("symbols", "length", "expected"), DIATOMICS)
def test_published_constants_of_diatomics(tmp_path, symbols, length, expected):
    names = symbols.strip("[]").split("][") if "][" in symbols else None
    names = names or [*symbols.replace("[", " ").replace("]", " ").replace("DD", "D D").split()]
    atoms = read(tmp_path, names, [[0, 0, 0], [0, 0, length]])
    found = rotational_constants(atoms.positions, atoms.get_masses(), is_linear=True)
    assert found.cm1[0] is found.ghz[0] is None
    assert found.cm1[1:] == pytest.approx([expected] * 2, rel=1e-4)
    assert found.ghz[1] == pytest.approx(expected * units._c * 1e-7, rel=1e-4)


@pytest.mark.parametrize("hydrogens", WATERS)
def test_published_constants_of_waters(tmp_path, hydrogens):
    angle = np.radians(104.48)
    bonds = 0.9578 * np.array([[1, 0, 0], [np.cos(angle), np.sin(angle), 0]])
    atoms = read(tmp_path, ["O", *hydrogens], [[0, 0, 0], *bonds])
    found = rotational_constants(atoms.positions, atoms.get_masses(), is_linear=False)
    np.testing.assert_allclose(found.cm1, WATERS[hydrogens], rtol=0.03)


def test_moments_are_those_of_ase():
    atoms = molecule("CH3CH2OH")
    atoms.rotate(30, "xyz")
    found = rotational_constants(atoms.positions, atoms.get_masses(), is_linear=False)
    moments = atoms.get_moments_of_inertia() * units._amu * 1e-20
    expected = units._hplanck / (8 * np.pi**2 * moments)
    np.testing.assert_allclose(found.ghz, expected / 1e9, rtol=1e-10)
    np.testing.assert_allclose(found.cm1, expected / units._c / 100, rtol=1e-10)


def test_isotopes_reach_them_and_what_does_not_rotate_has_none(morse):
    water = molecule("H2O")
    light = vibrations(water, morse(), relax_first=False)
    assert light["masses"] == "natural mixture"
    water.set_masses([15.999, 2.0141, 2.0141])
    heavy = vibrations(water, morse(), relax_first=False)
    assert heavy["masses"] == "of the isotopes that the structure names"
    ratio = np.divide(heavy["rotational_constants_cm1"], light["rotational_constants_cm1"])
    np.testing.assert_allclose(ratio, [0.553, 0.501, 0.521], atol=0.01)
    carbon_dioxide = vibrations(molecule("CO2"), morse(), relax_first=False)
    assert carbon_dioxide["rotational_constants_ghz"][0] is None
    assert vibrations(Atoms("C"), morse())["rotational_constants_ghz"] is None
    crystal = molecule("H2O", cell=[6, 6, 6], pbc=True)
    assert vibrations(crystal, morse(), relax_first=False)["rotational_constants_cm1"] is None
