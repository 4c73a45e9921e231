"""Allenes and other double bonds in a row: how their ends stand, and which have a hand."""

from __future__ import annotations

import pytest
from rdkit import Chem

from molequi.structures.cumulenes import double_bond_rows, handed_rows, stereo_rows
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.perception import labels_from_geometry
from molequi.structures.relaxing import twists


@pytest.mark.parametrize(
    ("smiles", "rows", "with_configuration", "with_hand"),
    [
        ("CC=C=CC", 1, 1, 1),
        ("C=C=CC", 1, 0, 0),  # both hydrogens of an end are alike
        ("CC(C)=C=CC", 1, 0, 0),
        ("CC=C=C=CC", 1, 1, 0),  # cis or trans
        ("CC=C=C=C=CC", 1, 1, 1),
        ("CN=C=NC", 1, 0, 0),  # nitrogen turns over
        ("CC=C=CC=C=CC", 2, 2, 2),
        ("C=CC=C", 0, 0, 0),
        ("O=C=O", 1, 0, 0),
    ],
)
def test_rows(smiles: str, rows: int, with_configuration: int, with_hand: int) -> None:
    for molecule in (Chem.MolFromSmiles(smiles), Chem.AddHs(Chem.MolFromSmiles(smiles))):
        assert len(double_bond_rows(molecule)) == rows
        assert len(stereo_rows(molecule)) == with_configuration
        assert len(handed_rows(molecule)) == with_hand


# The force fields alone turn them to 0° (CC(F)=C=C(F)C, UFF of all) or anywhere else.
@pytest.mark.parametrize("smiles", ["CC=C=CC", "CC(F)=C=C(F)C", "CC=C=CC.O", "CC=C=C(C)B(O)O"])
def test_ends_of_an_allene_stand_upright_on_each_other(smiles: str) -> None:
    atoms = atoms_from_smiles(smiles)
    (twist,) = twists(Chem.AddHs(Chem.MolFromSmiles(smiles)))
    angle = atoms.get_dihedral(*twist.atoms)
    assert min(abs(angle - 90.0), abs(angle - 270.0)) < 1.0
    assert "not converged" not in atoms.info["geometry"]


@pytest.mark.parametrize("smiles", ["CC=C=C=CC", "FC=C=C=CF"])
def test_three_double_bonds_lie_in_one_plane(smiles: str) -> None:
    atoms = atoms_from_smiles(smiles)
    (twist,) = twists(Chem.AddHs(Chem.MolFromSmiles(smiles)))
    angle = atoms.get_dihedral(*twist.atoms)
    assert min(angle, abs(angle - 180.0), 360.0 - angle) < 1.0
    assert labels_from_geometry(atoms).is_conformer_of_image


def test_a_ring_may_bend_its_allene() -> None:
    atoms = atoms_from_smiles("C1CCCCCC=C=C1")  # cyclonona-1,2-diene
    (twist,) = twists(Chem.AddHs(Chem.MolFromSmiles("C1CCCCCC=C=C1")))
    angle = atoms.get_dihedral(*twist.atoms)
    assert 20.0 < min(angle, 360.0 - angle) < 80.0


def test_only_ends_with_a_configuration_are_said_to_be_open() -> None:
    assert atoms_from_smiles("CC=C=CC").info["open_stereo"] == "C2=C3=C4"
    for smiles in ("C=C=CCl", "CC(C)=C=C(C)c1ccccc1", "CN=C=NC"):
        assert "open_stereo" not in atoms_from_smiles(smiles).info


def test_a_longer_row_has_a_hand_too() -> None:
    five, four = (atoms_from_smiles(text) for text in ("FC=C=C=C=CF", "FC=C=C=CF"))
    assert not labels_from_geometry(five).is_conformer_of_image
    assert labels_from_geometry(four).is_conformer_of_image
