"""Levels of PySCF: published values, forces against energies, ions, radicals, refusals."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from ase import units

pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'molequi[labels]'")

from molequi.errors import UserError
from molequi.labeling import backend_pyscf
from molequi.labeling.backend_pyscf import PySCF, build
from molequi.labeling.levels import LabelError, Molecule, parse_level
from molequi.labeling.protocol import converse
from molequi.properties import DEBYE


def hydrogen(distance: float = 0.74, **electrons: int) -> Molecule:
    return Molecule(
        np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]), **electrons
    )


def atom(number: int, **electrons: int) -> Molecule:
    return Molecule(np.array([number]), np.zeros((1, 3)), **electrons)


def test_energies_of_the_literature():
    """Szabo and Ostlund: H2 at 1.4 bohr, table 3.11, and the hydrogen atom, in 6-31G.

    Density fitting costs 1e-5.
    """
    energy = PySCF().compute(parse_level("hf/6-31g"), ("energy",), hydrogen(1.4 * units.Bohr))[
        "energy"
    ]
    assert energy / units.Hartree == pytest.approx(-1.127, abs=5e-4)
    energy = PySCF().compute(parse_level("hf/6-31g"), ("energy",), atom(1, multiplicity=2))[
        "energy"
    ]
    assert energy / units.Hartree == pytest.approx(-0.498233, abs=2e-5)


def test_water_points_from_oxygen_to_hydrogen(water):
    values = PySCF().compute(
        parse_level("hf/6-31g"), ("dipole", "charges", "dipole_magnitude", "homo", "gap"), water
    )
    assert values["dipole"][2] < -0.4  # the hydrogens are at negative z; e·Å
    assert np.abs(values["dipole"][:2]).max() < 1e-6
    assert values["dipole_magnitude"] == pytest.approx(-values["dipole"][2] / DEBYE)
    assert values["dipole_magnitude"] == pytest.approx(
        2.63, abs=0.1
    )  # CCCBDB, HF/6-31G at its own geometry
    assert values["charges"].sum() == pytest.approx(0.0, abs=1e-6)
    assert values["charges"][0] < -0.5
    assert values["homo"] == pytest.approx(-13.5, abs=0.3)  # Koopmans
    assert values["gap"] > 15


@pytest.mark.parametrize("text", ["hf/6-31g", "pbe/sto-3g", "mp2/6-31g"])
def test_forces_are_the_slope_of_the_energy(text):
    level, step = parse_level(text), 1e-3
    forces = PySCF().compute(level, ("energy", "forces"), hydrogen(0.8))["forces"]
    high, low = (
        PySCF().compute(level, ("energy",), hydrogen(0.8 + shift))["energy"]
        for shift in (step, -step)
    )
    assert np.abs(forces[:, :2]).max() < 1e-4
    assert forces[1, 2] == pytest.approx(-(high - low) / (2 * step), abs=1e-3)
    assert forces.sum(axis=0) == pytest.approx(0.0, abs=1e-4)


def test_a_big_molecule_goes_the_other_way(water, monkeypatch):
    level, names = (
        parse_level("hf/6-31g"),
        ("energy", "dipole", "charges", "homo", "lumo", "polarizability", "rosenfeld"),
    )
    quick = PySCF().compute(level, names, water)
    monkeypatch.setattr(backend_pyscf, "_MOST_PAIRS", 0)
    slow = PySCF().compute(level, names, water)
    for name in names:
        assert np.abs(quick[name] - slow[name]).max() < 2e-5, name


def test_response_of_a_functional_in_the_limit_of_exact_exchange(water):
    """The Kohn-Sham way with all of the exchange and no correlation is Hartree-Fock."""
    names = ("energy", "polarizability", "rosenfeld")
    field = PySCF().compute(parse_level("hf/6-31g"), names, water)
    functional = PySCF().compute(parse_level("hf,/6-31g"), names, water)
    for name in names:
        assert np.abs(field[name] - functional[name]).max() < 2e-5, name


def test_polarizability_is_the_slope_of_the_dipole(water, monkeypatch):
    """PBE, by finite fields through PySCF's own core Hamiltonian."""
    level = parse_level("pbe/sto-3g")
    alpha = PySCF().compute(level, ("polarizability",), water)["polarizability"] / units.Bohr**3
    mol, strength, dipoles = backend_pyscf.build(level, water), 2e-3, []
    for sign in (1.0, -1.0):
        core = backend_pyscf.scf.hf.get_hcore(mol) + sign * strength * mol.intor("int1e_r")[2]
        monkeypatch.setattr(backend_pyscf.dft.rks.RKS, "get_hcore", lambda *_, core=core: core)
        dipoles.append(backend_pyscf.converge(level, mol).dip_moment(unit="au", verbose=0)[2])
    assert alpha[2, 2] == pytest.approx((dipoles[0] - dipoles[1]) / (2 * strength), rel=2e-3)


def test_dipole_of_an_ion_refers_to_the_centre_of_mass():
    ion = Molecule(
        np.array([7, 1, 1, 1, 1]),
        np.array(
            [[0, 0, 0], [0.6, 0.6, 0.6], [-0.6, -0.6, 0.6], [-0.6, 0.6, -0.6], [0.6, -0.6, -0.7]]
        ),
        1,
    )
    here, there = (
        PySCF().compute(
            parse_level("hf/sto-3g"), ("dipole",), ion._replace(positions=ion.positions + shift)
        )["dipole"]
        for shift in (0.0, 5.0)
    )
    assert np.abs(here - there).max() < 1e-5


def test_radicals_have_energies_but_no_response():
    methyl = Molecule(
        np.array([6, 1, 1, 1]),
        np.array([[0, 0, 0], [1.08, 0, 0], [-0.54, 0.935, 0], [-0.54, -0.935, 0]]),
        multiplicity=2,
    )
    values = PySCF().compute(
        parse_level("hf/sto-3g"), ("energy", "forces", "dipole", "charges", "homo", "lumo"), methyl
    )
    assert values["energy"] / units.Hartree == pytest.approx(-39.07, abs=0.02)
    assert values["charges"].sum() == pytest.approx(0.0, abs=1e-6)
    assert np.linalg.norm(values["dipole"]) < 0.01
    assert values["homo"] < values["lumo"]
    with pytest.raises(LabelError, match=r"open shell \(multiplicity 2\)"):
        PySCF().compute(parse_level("hf/sto-3g"), ("rosenfeld",), methyl)


def test_core_potentials_are_used_where_the_basis_has_them():
    """All 53 electrons of iodine would give 6,900 Ha; the basis describes 25 of them."""
    values = PySCF().compute(
        parse_level("hf/def2-svp"),
        ("energy", "rosenfeld"),
        Molecule(np.array([53, 1]), np.array([[0, 0, 0], [0, 0, 1.61]])),
    )
    assert values["energy"] / units.Hartree == pytest.approx(-297.7, abs=1.0)
    # A linear molecule has none of the symmetric part.
    assert (
        np.abs(values["rosenfeld"] + values["rosenfeld"].T).max()
        < 1e-4
        < np.abs(values["rosenfeld"]).max()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hf/nosuch", "no basis 'nosuch' for H, C"),
        ("nosuch/6-31g", "'nosuch' is no method that PySCF knows"),
        ("b3lyp*2/6-31g", "is no method"),
        ("1/6-31g", "is no method"),
        ("gfn2-xtb/6-31g", "is no method"),
        ("wb97x-2/6-31g", "'wb97x-2' is no method"),  # a double hybrid, to PySCF a difference
        ("b3lyp-1/6-31g", "is no method"),
        ("b3lyp-b3lyp/6-31g", "is no method"),
        ("pbe0-hf/6-31g", "is no method"),
        ("b3lyp-d3bj/6-31g", "dispersion corrections are not available"),
        ("wb97x-d/6-31g", "dispersion corrections are not available"),
    ],
)
def test_what_does_not_exist_is_refused_at_once(text, message):
    with pytest.raises(UserError, match=message):
        PySCF().check(parse_level(text), [1, 6])


@pytest.mark.parametrize(
    "text",
    [
        "hf/6-31g*",
        "mp2/cc-pvdz",
        "b3lyp/def2-svp",
        "wb97m-v/6-31g",
        "pbe,pbe/sto-3g",
        "cam-b3lyp/6-31g",
        "m06-2x/6-31g",
        "b3lyp5/6-31g",
    ],
)
def test_what_exists_names_its_program(text):
    assert PySCF().check(parse_level(text), [1, 6]).startswith("PySCF 2.")


@pytest.mark.parametrize(("basis", "number"), [("cc-pcvdz", 6), ("minao", 6), ("dyall-dz", 53)])
def test_a_basis_without_a_file_of_cores_has_none(basis, number):
    pair = Molecule(np.array([number] * 2), np.array([[0, 0, 0], [0, 0, 2.0]]))
    mol = build(parse_level(f"hf/{basis}"), pair)
    assert mol.nao and not mol.has_ecp()


def test_one_element_without_basis_is_one_molecule(water):
    assert PySCF().check(parse_level("hf/6-31g"), [1, 8, 53])
    with pytest.raises(LabelError, match="6-31g has no functions for I"):
        PySCF().compute(
            parse_level("hf/6-31g"),
            ("energy",),
            Molecule(np.array([53, 1]), np.array([[0, 0, 0], [0, 0, 1.6]])),
        )


def test_a_conversation_of_lines(water):
    lines = [
        {"level": ["hf", "sto-3g"], "properties": ["energy"], "elements": [1, 8]},
        {
            "numbers": water.numbers.tolist(),
            "positions": water.positions.tolist(),
            "charge": 0,
            "multiplicity": 1,
        },
        {"numbers": [1], "positions": [[0, 0, 0]], "charge": 0, "multiplicity": 1},
    ]
    out = io.StringIO()
    converse(io.StringIO("".join(json.dumps(line) + "\n" for line in lines)), out, PySCF())
    hello, first, second = map(json.loads, out.getvalue().splitlines())
    assert hello["program"].startswith("PySCF")
    assert first["values"]["energy"] / units.Hartree == pytest.approx(-74.96, abs=0.01)
    assert "error" in second  # one electron is no singlet
