"""Boltzmann means over conformers."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem
from scipy import constants

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.models.metadata import ModelMetadata
from molequi.models.molecular import MolecularModel
from molequi.simulation.boltzmann import (
    averaged,
    boltzmann_weights,
    predict_means,
)
from molequi.simulation.calculator import Calculator
from molequi.simulation.conformers import conformer_pool
from molequi.structures.inputs import read_inputs
from molequi.structures.molecules import atoms_from_smiles


@pytest.fixture(scope="module")
def chiral() -> MolecularModel:
    return make_model(
        [1, 6, 8],
        ["rosenfeld"],
        n_channels=8,
        n_layers=3,
        parity="full",
        metadata=ModelMetadata(name="tiny"),
    )


def test_weights_follow_boltzmann():
    kT = constants.k * 298.15 / constants.e
    weights = boltzmann_weights(np.array([5.0, 5.0 + kT, 5.0]), 298.15)
    np.testing.assert_allclose(
        weights, np.array([1, np.exp(-1), 1]) / (2 + np.exp(-1)), rtol=2e-6
    )  # ASE's constants are those of 2014


def test_butane_is_inactive_because_its_conformers_come_in_pairs(chiral):
    (record,) = predict_means(smiles="CCCC", model=chiral, conformers=6, temperature=298.15)
    rotations = sorted(entry["specific_rotation"] for entry in record["conformers"])
    assert len(rotations) == 3
    assert rotations[0] == pytest.approx(-rotations[2], rel=1e-3)
    assert record["rotation_sign"] is None
    assert [entry["rotation_sign"] for entry in record["conformers"]].count(None) == 1
    assert sum(entry["weight"] for entry in record["conformers"]) == pytest.approx(1.0)
    assert record["conformers"][0]["relative_energy"] == 0.0


def test_an_achiral_molecule_is_inactive_though_a_conformer_is_only_nearly_flat(chiral):
    """The trans form of H2O2 relaxes to something not quite planar, with a rotation of its own."""
    turn = np.radians(179.0)
    hooh = ase.Atoms(
        "OOHH",
        [
            [0, 0, 0],
            [0, 0, 1.45],
            [0.94, 0, -0.15],
            [0.94 * np.cos(turn), 0.94 * np.sin(turn), 1.6],
        ],
    )
    (record,) = predict_means(hooh, chiral, conformers=1, temperature=298.15)
    assert any(entry["rotation_sign"] for entry in record["conformers"])
    assert record["rotation_sign"] is None
    assert abs(record["specific_rotation"]) < 1e-3 * max(
        abs(entry["specific_rotation"]) for entry in record["conformers"]
    )


def test_the_mean_is_that_of_the_weights_and_flips_with_the_molecule(chiral):
    one, other = predict_means(
        smiles=["CC[C@H](C)O", "CC[C@@H](C)O"], model=chiral, conformers=8, temperature=300.0
    )
    for record in (one, other):
        weights = [entry["weight"] for entry in record["conformers"]]
        values = [entry["specific_rotation"] for entry in record["conformers"]]
        assert record["specific_rotation"] == pytest.approx(np.dot(weights, values))
        energies = [entry["relative_energy"] for entry in record["conformers"]]
        numbers = np.array([entry["symmetry_number"] for entry in record["conformers"]])
        np.testing.assert_allclose(weights, boltzmann_weights(np.array(energies), 300.0, numbers))
    assert one["cip"] != other["cip"]
    assert {tuple(entry["cip"].values()) for entry in one["conformers"]} == {
        tuple(one["cip"].values())
    }


def test_coordinates_give_the_molecule_and_its_hand(chiral):
    atoms = atoms_from_smiles("C[C@H](O)C=O")
    bare = ase.Atoms(atoms.numbers, atoms.positions)
    (record,) = predict_means(bare, chiral, conformers=2, temperature=298.15)
    assert list(record["cip"].values()) == ["S"]


def test_a_marked_nitrogen_is_not_asked_for():
    """RDKit labels the nitrogen of an aziridine that the SMILES marks, off coordinates none."""
    (record,) = predict_means(smiles="C[N@]1C[C@@H]1C", conformers=2, temperature=298.15)
    assert record["conformers"]
    assert record["left_out"] == []


def test_other_scalars_have_a_mean_and_vectors_have_none():
    (record,) = predict_means(smiles="OO", conformers=4, temperature=298.15)
    assert record["dipole_magnitude"] == pytest.approx(
        sum(entry["weight"] * entry["dipole_magnitude"] for entry in record["conformers"])
    )
    assert "dipole" not in record
    with pytest.raises(UserError, match="turns with the molecule"):
        averaged(make_model([1, 8], ["polarizability"], n_channels=4, l_max=2))


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("CCC(C)O", "leaves a stereo centre open"),
        ("CN1OC1(C)C", "leaves a stereo centre open"),
        ("C[C@@H]1CC/C(=C/F)CC1", "marks a hand at atom 1 that no SMILES keeps"),
        ("CC=CCO", "stereo double bond open"),
        ("CC[Ge](C)C", "no energies by the model organic: element Ge"),
        ("CC=C=CC", "has an allene, whose hand no SMILES keeps"),
        ("C[C@H](F)C=C=CC", "has an allene, whose hand no SMILES keeps"),
        ("C1=CC2(C1)C=CC2", "has a hand that no SMILES keeps"),
        ("CC=C=C=CC", "has double bonds in a row, whose ends no SMILES places"),
        ("C[C@H](O)C=O |&1:1|", "states a mixture (&) or an unknown hand (o)"),
    ],
)
def test_what_has_no_mean_is_said(chiral, smiles, said):
    (record,) = predict_means(smiles=smiles, model=chiral, conformers=2, temperature=298.15)
    assert said in record["error"]


@pytest.mark.parametrize("smiles", ["CC(O)C=O", "C[C@H](O)C=O |&1:1|"])
def test_a_drawing_of_several_molecules_has_no_mean(chiral, tmp_path, smiles):
    drawn = Chem.MolFromSmiles(smiles)
    AllChem.Compute2DCoords(drawn)
    (tmp_path / "a.sdf").write_text(Chem.MolToV3KMolBlock(drawn))
    (record,) = predict_means(tmp_path / "a.sdf", chiral, conformers=2, temperature=298.15)
    assert "the input leaves configurations open (here C2 " in record["error"]


def test_wrong_settings_are_refused(chiral, tmp_path):
    with pytest.raises(UserError, match="temperature is 0"):
        predict_means(smiles="CO", model=chiral, conformers=2, temperature=0.0)
    with pytest.raises(UserError, match=r"\.json file"):
        predict_means(
            smiles="CO", model=chiral, conformers=2, temperature=300.0, output=tmp_path / "x.xyz"
        )


def test_conformers_count_as_often_as_they_occur():
    """Pentane: trans-trans once, trans-gauche four times, gauche-gauche of one sense twice."""
    ((structure),) = read_inputs(smiles="CCCCC")
    pool = conformer_pool(structure, 24, 1, Calculator("organic"))
    ends = [
        tuple(
            round(abs(atoms.get_dihedral(*t) - 180.0) / 60.0) for t in ((0, 1, 2, 3), (1, 2, 3, 4))
        )
        for atoms in pool.atoms
    ]
    numbers = dict(zip(map(sum, ends), pool.symmetry_numbers.tolist(), strict=True))
    assert numbers[0] == 2
    assert numbers[2] == 1
    weights = boltzmann_weights(np.zeros(len(ends)), 300.0, pool.symmetry_numbers)
    share = {n: weights[[sum(end) == n for end in ends]].sum() for n in (0, 2)}
    assert share[2] / share[0] == pytest.approx(4.0)
