"""Marks of centres as coordinates have them: three neighbours and a lone pair."""

from __future__ import annotations

import pytest
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from molequi.datasets import read_chiral
from molequi.structures.cip import label_molecule, read_stereo, reflected
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.open_stereo import open_elements
from molequi.structures.perception import labels_from_geometry

PYRAMIDS = [
    "C[P@](CC)c1ccccc1",
    "CC[P@@H]F",
    "C[As@](CC)c1ccccc1",
    "O[P@]1OC[C@@H](C)O1",
    "C[P@](F)[C@H](O)[P@@](C)F",  # the carbon has a label for the sake of its two neighbours
    "C[S@](=O)CC",
    "C[S@+](CC)CCC",
]


@pytest.mark.parametrize("smiles", PYRAMIDS)
def test_coordinates_have_the_marks_of_the_smiles(smiles: str) -> None:
    wanted = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(wanted, randomSeed=1) == 0
    labels = label_molecule(wanted)
    assert any(labels.atoms)
    bare = Chem.Mol(wanted)
    Chem.RemoveStereochemistry(bare)
    assert label_molecule(read_stereo(bare)).atoms == labels.atoms
    assert (label_molecule(reflected(bare)).signs == -labels.signs).all()


def test_like_neighbours_and_flat_rings_have_no_mark() -> None:
    for smiles in ("CP(C)CC", "P", "c1cc[pH]c1", "CP1C=CC=C1", "CP(=O)(C)CC"):
        atoms = atoms_from_smiles(smiles)
        found = labels_from_geometry(atoms)
        assert found.labels is not None
        assert not any(found.labels.atoms)


def test_a_phosphine_is_read_off_its_geometry_and_placed_in_both_hands() -> None:
    found = labels_from_geometry(atoms_from_smiles("C[P@](CC)c1ccccc1"))
    assert found.centres == {1: "R"}
    made = read_chiral(["CP(CC)c1ccccc1"])
    assert [label.atoms[1] for label in made.labels] == ["R", "S"]
    assert atoms_from_smiles("CP(CC)c1ccccc1").info["open_stereo"] in {"P2 R", "P2 S"}


@pytest.mark.parametrize(
    ("smiles", "count"),
    [
        ("C1C2CC3CC1CC(C2)C3", 0),  # adamantane
        ("C[C@H](O)C12CC(C1)C2", 0),
        ("CC(N)C12CC3CC(CC(C3)C1)C2", 1),  # rimantadine: the centre outside of the cage
        ("OCC12C3C4C1C5C2C3C45", 0),  # a cubane
        ("C1CC2CCC1C2", 0),  # norbornane
        ("CC1(C)C2CCC1(C)C(=O)C2", 2),  # camphor, of either hand
        ("OC1CC2CCC1C2", 3),
        ("C1CCC2CCCCC2C1", 2),  # decalin, cis and trans
        ("C1CCC2CCCCC2C1.C1C2CC3CC1CC(C2)C3", 2),
        ("CC(F)Cl", 1),
    ],
)
def test_bridgeheads_that_their_cage_fixes_are_not_open(smiles: str, count: int) -> None:
    assert len(open_elements(Chem.MolFromSmiles(smiles)).elements) == count
