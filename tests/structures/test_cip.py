"""CIP labels against names from textbooks, and what mirrors do to them."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import AllChem

from molequi.datasets.chirality.enantiomers import stereoisomers
from molequi.errors import UserError
from molequi.structures import cip
from molequi.structures.cip import (
    StereoLabels,
    axis_label,
    constitution_of,
    label_molecule,
    opposite,
    reflected,
    same_stereoisomer,
)


def parse(smiles: str) -> Chem.Mol:
    molecule = Chem.MolFromSmiles(smiles)
    assert molecule is not None
    return molecule


def in_space(smiles: str, seed: int = 1) -> Chem.Mol:
    molecule = Chem.AddHs(parse(smiles))
    assert AllChem.EmbedMolecule(molecule, randomSeed=seed) == 0
    return molecule


@pytest.mark.parametrize(
    ("smiles", "labels"),
    [
        ("C[C@H](N)C(=O)O", "S"),  # L-alanine
        ("N[C@@H](CS)C(=O)O", "R"),  # L-cysteine: sulfur turns the order round
        ("N[C@@H](CO)C(=O)O", "S"),  # L-serine, drawn like L-cysteine
        ("C([C@H](C=O)O)O", "R"),  # D-glyceraldehyde
        ("C[C@H]([C@@H](C(=O)O)N)O", "RS"),  # L-threonine is (2S,3R); its C3 comes first here
        (
            "C([C@H]([C@H]([C@@H]([C@H](C=O)O)O)O)O)O",
            "RRSR",
        ),  # D-glucose is (2R,3S,4R,5R); C5 comes first here
        ("CC1=CC[C@@H](CC1)C(=C)C", "R"),  # (R)-(+)-limonene
        ("[2H][C@H](O)C", "S"),  # isotopes count; [1-2H]ethanol
        ("C[S@](=O)c1ccc(C)cc1", None),  # sulfoxides are centres too
    ],
)
def test_known_labels(smiles: str, labels: str | None) -> None:
    found = label_molecule(parse(smiles))
    assert found.kind == "chiral"
    if labels is None:
        assert len([label for label in found.atoms if label in {"R", "S"}]) == 1
    else:
        assert "".join(found.atoms) == labels


def test_bromochlorofluoromethane() -> None:
    """The chirality of Br > Cl > F > H: from the side away from H, clockwise is R.

    Coordinates written by hand.
    """
    molecule = Chem.AddHs(parse("FC(Cl)Br"))
    angles = {
        9: np.deg2rad(210),
        17: np.deg2rad(-30),
        35: np.deg2rad(90),
    }  # seen from +z, Br -> Cl -> F runs clockwise
    lengths = {9: 1.36, 17: 1.76, 35: 1.93}
    positions = np.zeros((5, 3))
    for atom in molecule.GetAtoms():
        if atom.GetAtomicNum() in angles:
            angle = angles[atom.GetAtomicNum()]
            positions[atom.GetIdx()] = lengths[atom.GetAtomicNum()] * np.array(
                [0.943 * np.cos(angle), 0.943 * np.sin(angle), 0.333]
            )
        elif atom.GetAtomicNum() == 1:
            positions[atom.GetIdx()] = [0, 0, -1.09]
    conformer = Chem.Conformer(5)
    conformer.SetPositions(positions)
    conformer.Set3D(True)
    molecule.AddConformer(conformer)
    hand = cip.read_stereo(molecule)
    assert label_molecule(hand).atoms[1] == "R"
    assert label_molecule(reflected(hand)).atoms[1] == "S"


def pentitol(aldose: str) -> Chem.Mol:
    """Reduce the pentose whose centres C2, C3, C4 are named so, to its alcohol."""
    for isomer in stereoisomers(parse("OCC(O)C(O)C(O)C=O")):
        for hand in (isomer, opposite(isomer)):
            if "".join(label_molecule(hand).atoms)[::-1] == aldose:
                return parse(Chem.MolToSmiles(hand).replace("C=O", "CO").replace("O=C", "OC"))
    raise AssertionError(aldose)


@pytest.mark.parametrize(
    ("aldose", "middle"),
    [
        ("RRR", "s"),  # D-ribose (2R,3R,4R) gives ribitol, (2R,3s,4S)
        ("RSR", "r"),  # D-xylose (2R,3S,4R) gives xylitol, (2R,3r,4S)
    ],
)
def test_pseudoasymmetric_centres_do_not_swap(aldose: str, middle: str) -> None:
    molecule = pentitol(aldose)
    found = label_molecule(molecule)
    assert sorted(label for label in found.atoms if label) == sorted(["R", "S", middle])
    assert found.kind == "meso"
    mirrored = label_molecule(opposite(molecule))
    swap = {"R": "S", "S": "R"}
    assert mirrored.atoms == tuple(swap.get(label, label) for label in found.atoms)
    number = found.atoms.index(middle)
    assert found.signs[number] == 0
    assert np.isnan(found.handedness[number])


@pytest.mark.parametrize(
    "smiles",
    [
        "C[C@H](N)C(=O)O",
        "O[C@H](C(=O)O)[C@H](O)C(=O)O",
        "C1C[C@H](C)[C@@H](O)CC1",
        "C[C@H](F)/C=C/[C@@H](F)CC",
    ],
)
def test_reflection_in_space_swaps_labels(smiles: str) -> None:
    molecule = in_space(smiles)
    first, second = label_molecule(molecule), label_molecule(reflected(molecule))
    assert first.signs.any()
    assert np.array_equal(first.signs, -second.signs)
    np.testing.assert_array_equal(first.handedness, 1 - second.handedness)
    assert first.atoms == label_molecule(reflected(reflected(molecule))).atoms


@pytest.mark.parametrize(
    ("smiles", "kind"),
    [
        ("O[C@H](C(=O)O)[C@@H](O)C(=O)O", "meso"),  # (R,S)-tartaric acid
        ("O[C@H](C(=O)O)[C@H](O)C(=O)O", "chiral"),
        ("C[C@H]1CCCC[C@@H]1C", "chiral"),  # trans-1,2-dimethylcyclohexane
        ("C[C@H]1CCCC[C@H]1C", "meso"),  # cis
        ("C[C@H]1CC[C@@H](C)CC1", "achiral"),  # 1,4: only r and s
        ("CCO", "achiral"),
        ("CC=C=CC", "unknown"),  # penta-2,3-diene is chiral, without any centre
    ],
)
def test_kinds(smiles: str, kind: str) -> None:
    assert label_molecule(parse(smiles)).kind == kind


def test_allene_has_no_label() -> None:
    molecule = in_space("FC=C=CCl")
    for hand in (molecule, reflected(molecule)):
        found = label_molecule(hand)
        assert set(found.atoms) == {""}
        assert not found.axes
        assert found.kind == "unknown"


def test_constitution_is_the_key_of_all_stereoisomers() -> None:
    keys = {
        constitution_of(text) for text in ("C/C=C/[C@H](F)Cl", "C/C=C\\[C@@H](F)Cl", "ClC(F)C=CC")
    }
    assert len(keys) == 1
    assert constitution_of("[H]/N=C1/OC[C@H]1N") == constitution_of("N=C1OCC1N")
    assert constitution_of("CC(F)Cl") != constitution_of("CC(F)Br")
    with pytest.raises(UserError, match="'C1CC' cannot be read"):
        constitution_of("C1CC")


def test_same_stereoisomer() -> None:
    meso = parse("O[C@H](C(=O)O)[C@@H](O)C(=O)O")
    active = parse("O[C@H](C(=O)O)[C@H](O)C(=O)O")
    assert same_stereoisomer(meso, opposite(meso))
    assert not same_stereoisomer(active, opposite(active))
    assert not same_stereoisomer(meso, active)
    assert not same_stereoisomer(parse("C/C=C/C"), parse("C/C=C\\C"))


BIPHENYL = "Cc1cccc(F)c1-c1c(C)cccc1F"


def axis_and_torsion(molecule: Chem.Mol) -> tuple[tuple[int, int], float]:
    """The bond between the rings, and the torsion of the carbons that bear F.

    These outrank those that bear methyl.
    """
    match = molecule.GetSubstructMatch(Chem.MolFromSmarts("c(F)c-!@c(cF)"))
    left, _, first, second, right, _ = match
    torsion = ase.Atoms(
        numbers=[a.GetAtomicNum() for a in molecule.GetAtoms()],
        positions=molecule.GetConformer().GetPositions(),
    )
    return (first, second), float(torsion.get_dihedral(left, first, second, right))


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_sense_of_an_axis_is_that_of_the_torsion_of_the_senior_ends(seed: int) -> None:
    molecule = in_space(BIPHENYL, seed)
    for hand in (molecule, reflected(molecule)):
        axis, torsion = axis_and_torsion(hand)
        assert axis_label(hand, axis) == ("P" if torsion < 180 else "M")
        assert axis_label(hand, axis[::-1]) == axis_label(hand, axis)
    axis, _ = axis_and_torsion(molecule)
    assert {axis_label(molecule, axis), axis_label(reflected(molecule), axis)} == {"M", "P"}


def test_a_flat_axis_has_no_sense() -> None:
    molecule = in_space(BIPHENYL)
    axis, _ = axis_and_torsion(molecule)
    conformer = molecule.GetConformer()
    conformer.SetPositions(conformer.GetPositions() * [1.0, 1.0, 0.0])
    assert axis_label(molecule, axis) == axis_label(reflected(molecule), axis) == ""


def test_axes_that_are_none() -> None:
    plain = in_space("Fc1cccc(F)c1-c1c(C)cccc1F")
    match = plain.GetSubstructMatch(Chem.MolFromSmarts("c-!@c"))
    assert axis_label(plain, match) == ""  # two equal ends on one side
    with pytest.raises(UserError, match="atoms 0 and 1 are no axis"):
        axis_label(in_space("CCO"), (0, 1))
    with pytest.raises(UserError, match="are no axis"):
        axis_label(plain, (0, 3))


def test_axial_targets() -> None:
    labels = StereoLabels(("",) * 5, {(1, 2): "P", (2, 3): "M"})
    np.testing.assert_array_equal(labels.axial_handedness, [np.nan, 1, np.nan, 0, np.nan])
