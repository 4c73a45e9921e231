"""Raman activities against averages over all orientations; slopes against finite differences."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from scipy.spatial.transform import Rotation

from molequi.errors import UserError
from molequi.labeling.backend_pyscf import PySCF
from molequi.labeling.levels import Molecule, parse_level
from molequi.models.making import make_model
from molequi.nn.response import output_derivative
from molequi.simulation.intensities import raman, raman_activities
from molequi.simulation.normal_modes import NormalModes, normal_modes
from molequi.structures.atoms import graph_from_atoms


@pytest.fixture(scope="module")
def optics():
    return make_model(
        [1, 6, 8], ["polarizability", "dipole"], n_layers=1, n_channels=8, l_max=2
    ).to(torch.float64)


def orientations():
    """Rotations with weights that average polynomials of degree 4 of their matrices exactly."""
    turns = 2 * np.pi * np.arange(6) / 6
    cosines, weights = np.polynomial.legendre.leggauss(4)
    angles = np.array([(a, np.arccos(c), g) for a in turns for c in cosines for g in turns])
    shares = np.array([w for _ in turns for w in weights for _ in turns])
    return Rotation.from_euler("zyz", angles).as_matrix(), shares / shares.sum()


def test_activities_are_what_molecules_of_all_orientations_scatter():
    """Light along y, polarised along z, seen along x: parallel zz, perpendicular zy."""
    random = np.random.default_rng(3)
    slope = random.normal(size=(3, 3))
    slope = slope + slope.T
    modes = NormalModes(np.array([1000.0]), np.array([[[1.0, 0.0, 0.0]]]), False)
    derivative = np.zeros((3, 3, 1, 3))
    derivative[:, :, 0, 0] = slope
    found = raman_activities(modes, derivative, np.array([4.0]))
    turns, shares = orientations()
    seen = turns @ (slope / 2.0) @ turns.transpose(0, 2, 1)
    parallel, perpendicular = (shares @ seen[:, 2, k] ** 2 for k in (2, 1))
    assert found.activities == pytest.approx([45 * (parallel + perpendicular)])
    assert found.depolarisation == pytest.approx([perpendicular / parallel])


# RHF/cc-pVDZ at this geometry, as an example of PySCFAD has it analytically: cm^-1, Å⁴/amu.
WATER = np.array([[0.0, 0.0, 0.1157], [0.0, 0.7488, -0.4629], [0.0, -0.7488, -0.4629]])
PLACES = [1775.68298016, 4113.24151671, 4211.55679665]
ACTIVITIES = [4.78998643, 68.87902111, 34.78821604]
RATIOS = [0.52686036, 0.17011081, 0.75]


def test_water_has_the_activities_of_another_program():
    """Hessian by PySCF, slopes of its polarizability by central differences, the rest is ours."""
    gto, scf = (pytest.importorskip(f"pyscf.{name}") for name in ("gto", "scf"))
    atom = [*zip("OHH", WATER.tolist(), strict=True)]
    solved = scf.RHF(gto.M(atom=atom, basis="cc-pvdz", verbose=0)).run(conv_tol=1e-12)
    hessian = solved.Hessian().kernel().transpose(0, 2, 1, 3).reshape(9, 9)
    masses = Atoms("OH2").get_masses()
    modes = normal_modes(hessian * units.Hartree / units.Bohr**2, masses, WATER)
    level, slopes = parse_level("hf/cc-pvdz"), np.zeros((3, 3, 3, 3))
    for atom, axis in np.ndindex(3, 3):
        sides = []
        for step in (5e-3, -5e-3):
            moved = WATER.copy()
            moved[atom, axis] += step
            values = PySCF().compute(level, ("polarizability",), Molecule([8, 1, 1], moved))
            sides.append(values["polarizability"])
        slopes[:, :, atom, axis] = (sides[0] - sides[1]) / 1e-2
    found = raman_activities(modes, slopes, masses)
    np.testing.assert_allclose(modes.frequencies, PLACES, rtol=1e-6)
    np.testing.assert_allclose(found.activities, ACTIVITIES, rtol=3e-4)
    np.testing.assert_allclose(found.depolarisation, RATIOS, rtol=3e-4)


def test_breathing_is_polarised_and_a_silent_mode_has_no_ratio():
    modes = NormalModes(np.array([1.0, 2.0]), np.eye(3)[:2, None], False)
    derivative = np.zeros((3, 3, 1, 3))
    derivative[:, :, 0, 0] = np.eye(3)
    found = raman_activities(modes, derivative, np.ones(1))
    np.testing.assert_allclose(found.activities, [45.0, 0.0], atol=1e-12)
    assert found.depolarisation[0] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(found.depolarisation[1])


@pytest.mark.parametrize("name", ["polarizability", "dipole"])
def test_slopes_are_finite_differences(optics, name):
    atoms = molecule("CH3OH")

    def value(moved):
        graph = graph_from_atoms(moved, optics.cutoff)
        return optics(graph)[name][0].detach().numpy()

    slopes = output_derivative(optics, graph_from_atoms(atoms, optics.cutoff), name).numpy()
    assert slopes.shape == (*value(atoms).shape, 6, 3)
    for atom, axis in ((0, 0), (2, 1), (5, 2)):
        sides = []
        for step in (1e-4, -1e-4):
            moved = atoms.copy()
            moved.positions[atom, axis] += step
            sides.append(value(moved))
        expected = (sides[0] - sides[1]) / 2e-4
        np.testing.assert_allclose(slopes[..., atom, axis], expected, rtol=1e-5, atol=1e-7)


def test_activities_of_a_model_are_those_of_displaced_molecules(optics):
    atoms = molecule("H2O")
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    random = np.random.default_rng(0).normal(size=(9, 9))
    modes = normal_modes(
        random @ random.T * np.outer(root, root), atoms.get_masses(), atoms.positions
    )
    found = raman(atoms, optics.freeze(), modes, charge=0)
    for weighted, activity in zip(modes.weighted, found.activities, strict=True):
        sides = []
        for step in (1e-3, -1e-3):
            moved = atoms.copy()
            moved.positions += step * weighted / np.sqrt(atoms.get_masses())[:, None]
            graph = graph_from_atoms(moved, optics.cutoff)
            sides.append(optics(graph)["polarizability"][0].detach().numpy())
        (xx, xy, xz), (_, yy, yz), (_, _, zz) = (sides[0] - sides[1]) / 2e-3
        mean = (xx + yy + zz) / 3
        squared = 0.5 * ((xx - yy) ** 2 + (yy - zz) ** 2 + (zz - xx) ** 2)
        squared += 3 * (xy**2 + xz**2 + yz**2)
        assert activity == pytest.approx(45 * mean**2 + 7 * squared, rel=1e-4)


def test_a_model_without_polarizability_and_a_crystal_are_refused(network, optics):
    atoms = molecule("H2O")
    modes = NormalModes(np.zeros(0), np.zeros((0, 3, 3)), False)
    with pytest.raises(UserError, match="no polarizability"):
        raman(atoms, network.freeze(), modes, charge=0)
    atoms.set_cell([9.0] * 3)
    atoms.pbc = True
    with pytest.raises(UserError, match="periodic"):
        raman(atoms, optics.freeze(), modes, charge=0)
