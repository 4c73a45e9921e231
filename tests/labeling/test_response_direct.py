"""The quick Hartree-Fock labels: laws of symmetry, and four oracles.

PySCF's own field, iteration, published numbers, other labels of the method.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from scipy.linalg import eigh, sqrtm
from scipy.spatial.transform import Rotation

pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'molequi[labels]'")

from molequi.labeling import hartree_fock
from molequi.labeling.backend_pyscf import PySCF, build, converge
from molequi.labeling.levels import LabelError, Molecule, parse_level
from molequi.labeling.response_direct import orbital_hessians, static_response
from molequi.labeling.response_iterative import response, specific_rotation
from molequi.nn.heads.optical import origin_term

SMALL = parse_level("hf/6-31g")
SODIUM_D = 1e7 / 589.3 / 219474.6313632  # Ha
CGS = 471.44360  # rotatory strength from atomic units to 1e-40 esu² cm²
TENSORS = ("energy", "dipole", "polarizability", "rosenfeld")


def size(tensor):
    return np.linalg.norm(tensor)


def test_agrees_with_pyscf_and_with_iteration(methyloxirane):
    mol = build(SMALL, methyloxirane)
    quick, field = hartree_fock.solve(mol), converge(SMALL, mol)
    assert abs(quick.energy - field.e_tot) < 1e-7
    assert np.abs(quick.levels[: quick.n_occupied] - field.mo_energy[field.mo_occ > 0]).max() < 1e-6
    assert np.abs(quick.density - field.make_rdm1()).max() < 5e-6
    for direct, iterated in zip(static_response(quick), response(field), strict=True):
        assert size(direct - iterated) < 3e-6 * size(iterated)


def test_laws_of_mirror_and_rotation(methyloxirane):
    values = PySCF().compute(SMALL, TENSORS, methyloxirane)
    alpha, beta = values["polarizability"], values["rosenfeld"]
    assert abs(np.trace(beta)) > 0.05
    mirror, rotation = np.diag([-1.0, 1.0, 1.0]), Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    for q in (mirror, -np.eye(3), rotation):
        moved = PySCF().compute(
            SMALL, TENSORS, methyloxirane._replace(positions=methyloxirane.positions @ q.T + 2.5)
        )
        assert abs(moved["energy"] - values["energy"]) < 1e-6
        assert np.abs(moved["dipole"] - q @ values["dipole"]).max() < 2e-6
        assert size(moved["polarizability"] - q @ alpha @ q.T) < 2e-6 * size(alpha)
        assert size(moved["rosenfeld"] - np.linalg.det(q) * q @ beta @ q.T) < 4e-6 * size(beta)


def test_water_has_a_tensor_without_trace(water):
    beta = PySCF().compute(SMALL, ("rosenfeld",), water)["rosenfeld"]
    assert size(beta) > 0.1
    assert abs(np.trace(beta)) < 1e-6


def test_the_origin_moves_the_tensor_as_it_must(methyloxirane):
    """A shift R of the origin adds -1/2 eps_bcd R_c alpha_ad in a complete basis.

    In this one nearly so.
    """
    mol = build(SMALL, methyloxirane)
    alpha, beta = static_response(hartree_fock.solve(mol))
    shift = np.array([0.0, 0.0, 3.0])  # bohr, of the origin: the molecule goes the other way
    moved = mol.copy().set_geom_(mol.atom_coords() - shift, unit="Bohr")
    other_alpha, other = static_response(hartree_fock.solve(moved))
    epsilon = np.zeros((3, 3, 3))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        epsilon[a, b, c], epsilon[a, c, b] = 1.0, -1.0
    expected = beta - 0.5 * np.einsum("bcd,c,ad->ab", epsilon, shift, alpha)
    change = size(expected - beta)
    assert size(other_alpha - alpha) < 1e-6 * size(alpha)
    assert size(other - expected) < 0.25 * change
    assert size(other - (2 * beta - expected)) > 1.5 * change  # the other sign would be wrong


@pytest.mark.parametrize(
    ("basis", "closeness"),
    [("sto-3g", 0.3), ("6-31g", 0.21), pytest.param("aug-cc-pvtz", 0.004, marks=pytest.mark.long)],
)
def test_the_head_moves_its_tensors_as_labels_move(basis, closeness):
    """The change of the labels is the head's origin term, exactly and in every basis.

    With the polarizability of mixed length and velocity, -4 r (A+B)^-1 (A-B)^-1 nabla. That of the
    labels becomes it as the basis grows.
    """
    peroxide = Molecule(
        np.array([8, 8, 1, 1]),
        np.array([[0.0, 0.7, 0.0], [0.0, -0.7, 0.0], [0.8, 0.9, 0.5], [-0.8, -0.9, 0.5]]),
    )
    mol, shift = build(parse_level(f"hf/{basis}"), peroxide), np.array([1.1, -0.7, 2.0])
    field = hartree_fock.solve(mol)
    alpha, beta = static_response(field)
    moved = mol.copy().set_geom_(mol.atom_coords() + shift, unit="Bohr")
    change = static_response(hartree_fock.solve(moved)).rosenfeld - beta

    def term(polarizability):
        tensors = torch.from_numpy(polarizability / units.Bohr)
        return origin_term(torch.from_numpy(shift)[None] * units.Bohr, tensors[None])[0].numpy()

    assert size(change - term(velocity_polarizability(field))) < 1e-5 * size(change)
    assert size(change - term(alpha)) < closeness * size(change)
    assert size(change + term(alpha)) > 1.9 * size(change)


def velocity_polarizability(field):
    """-4 r_a (A+B)^-1 (A-B)^-1 nabla_d, bohr³; r_a (A+B)^-1 r_d 4 where the basis is complete."""
    occupied, virtual = field.orbitals[:, : field.n_occupied], field.orbitals[:, field.n_occupied :]
    # <mu|nabla nu> is minus <nabla mu|nu>, which is what the integral is.
    length, velocity = (
        (virtual.T @ matrices @ occupied).transpose(0, 2, 1).reshape(3, -1)
        for matrices in (
            field.mol.intor_symmetric("int1e_r", comp=3),
            -field.mol.intor("int1e_ipovlp", comp=3),
        )
    )
    plus, minus = (np.tril(matrix.astype(np.float64)) for matrix in orbital_hessians(field))
    plus, minus = (matrix + np.tril(matrix, -1).T for matrix in (plus, minus))
    return -4.0 * np.linalg.solve(plus, length.T).T @ np.linalg.solve(minus, velocity.T)


@pytest.mark.parametrize(
    ("basis", "published"),
    [("cc-pvdz", 122), pytest.param("aug-cc-pvdz", 143, marks=pytest.mark.long)],
)
def test_published_optical_rotation(cnofh2, basis, published):
    """Fluorooxaziridine at the sodium D line, Hartree-Fock: Ruud et al., Chem. Phys.

    Lett. 373 (2003) 606, table 2, in whole degrees.

    Without density fitting this code gives 122.36 and 142.58, with it 122.63 and 142.65.
    """
    level = parse_level(f"hf/{basis}")
    field = converge(level, build(level, cnofh2))
    _, beta = response(field, SODIUM_D)
    mass = field.mol.atom_mass_list(isotope_avg=True).sum()
    assert specific_rotation(beta, mass, SODIUM_D) == pytest.approx(published, abs=0.7)
    _, mirrored = response(
        converge(level, build(level, cnofh2._replace(positions=-cnofh2.positions))), SODIUM_D
    )
    assert specific_rotation(mirrored, mass, SODIUM_D) == pytest.approx(
        -specific_rotation(beta, mass, SODIUM_D), rel=1e-5
    )


def test_published_rotatory_strengths_and_their_sum(methyloxirane):
    """All excitations from the same two matrices.

    The first four against Gaussian 09 (psi4's reference data), their sum against beta itself.

    With T = (A - B)^1/2: T (A + B) T y = w² y, <0|r|n> = w^-1/2 r T y and <0|l|n> = w^1/2 l T^-1 y
    up to a common factor sqrt(2); R_n = <0|r|n>.<0|l|n> / 2 and beta = 2 sum_n R_n / w² as a
    tensor.
    """
    level = parse_level("hf/cc-pvdz")
    field = hartree_fock.solve(build(level, methyloxirane))
    plus, minus = (np.tril(matrix.astype(np.float64)) for matrix in orbital_hessians(field))
    plus, minus = (matrix + np.tril(matrix, -1).T for matrix in (plus, minus))
    root = sqrtm(minus).real
    squares, vectors = eigh(root @ plus @ root)
    energies = np.sqrt(squares)
    occupied, virtual = field.orbitals[:, : field.n_occupied], field.orbitals[:, field.n_occupied :]
    electric, magnetic = (
        (occupied.T @ field.mol.intor(name, comp=3) @ virtual).reshape(3, -1)
        for name in ("int1e_r", "int1e_cg_irxp")
    )
    dipoles = np.sqrt(2.0) * electric @ root @ vectors / np.sqrt(energies)
    moments = np.sqrt(2.0) * magnetic @ np.linalg.solve(root, vectors) * np.sqrt(energies)
    strengths = np.einsum("xn,xn->n", dipoles, moments) / 2 * CGS
    assert np.abs(energies[:4] - [0.36723950, 0.38605750, 0.39471250, 0.40636650]).max() < 1e-4
    # psi4's own tolerance, 0.002 atomic units.
    assert np.abs(strengths[:4] - [-3.344, 9.712, 24.156, 31.911]).max() < 0.94

    alpha, beta = static_response(field)
    summed = (dipoles / energies**2) @ moments.T
    assert size(summed - beta) < 3e-6 * size(beta)
    assert size(2.0 * (dipoles / energies) @ dipoles.T - alpha) < 1e-6 * size(alpha)


@pytest.fixture
def poisoned_memory(monkeypatch):
    """Let memory that numpy hands out unwritten hold NaNs and absurd integers."""

    def poisoned(make):
        def spoilt(*arguments, **options):
            array = make(*arguments, **options)
            if array.dtype == np.float32:
                array.view(np.uint32)[...] = 0x7FA00000  # a cast of this NaN warns
            elif array.dtype.kind in "fc":
                array[...] = np.nan
            elif array.dtype.kind == "i":
                array[...] = np.iinfo(array.dtype).max
            return array

        return spoilt

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(np, name, poisoned(getattr(np, name)))


def test_nothing_is_read_that_was_never_written(methyloxirane, poisoned_memory):
    """Neither by the tensors nor by who takes the matrices whole, into another number type."""
    field = hartree_fock.solve(build(SMALL, methyloxirane))
    for matrix in orbital_hessians(field):
        with np.errstate(invalid="raise"):
            assert np.isfinite(matrix.astype(np.float64)).all()
    assert all(np.isfinite(tensor).all() for tensor in static_response(field))


def test_other_labels_of_the_same_method(reference_data):
    """Tensors of QM9 geometries by HF/6-31G with density fitting, computed by another program."""
    given = np.load(reference_data("chirality/qm9_rosenfeld.npz"))
    core = np.load(reference_data("qm9/qm9_core.npz"))
    index, n_atoms, z, pos = (core[name] for name in ("index", "n_atoms", "z", "pos"))
    offsets = np.concatenate([[0], np.cumsum(n_atoms)])
    for entry in (0, 40, 900, 2000):
        row = int(np.flatnonzero(index == given["index"][entry])[0])
        atoms = slice(offsets[row], offsets[row + 1])
        mol = build(SMALL, Molecule(z[atoms].astype(int), pos[atoms].astype(float)))
        field = hartree_fock.solve(mol)
        alpha, beta = static_response(field)
        assert abs(field.energy - given["energy"][entry]) < 1e-7
        assert size(alpha - given["alpha"][entry]) < 1e-6 * size(alpha)
        assert size(beta - given["beta"][entry]) < 3e-6 * size(beta)


def test_a_field_that_is_no_minimum_has_no_response():
    """Singlet oxygen with both electrons in one of two equal orbitals.

    A complex mixture of the two is lower.
    """
    oxygen = Molecule(np.array([8, 8]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.21]]))
    with pytest.raises(LabelError, match="no minimum"):
        PySCF().compute(SMALL, ("rosenfeld",), oxygen)
    assert PySCF().compute(SMALL, ("energy",), oxygen)["energy"] < -4000


def test_a_field_that_does_not_converge_says_so(water, monkeypatch):
    monkeypatch.setattr(hartree_fock, "_MAX_CYCLES", 3)
    with pytest.raises(LabelError, match="did not converge in 3 cycles"):
        PySCF().compute(SMALL, ("energy",), water)
