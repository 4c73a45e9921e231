"""Unpaired electrons of a SMILES, beside the known ground states of atoms."""

from __future__ import annotations

import re

import ase
import pytest
from ase.data import chemical_symbols, ground_state_magnetic_moments
from rdkit import Chem

from molequi.structures.atoms import charge_of, multiplicity_of, settle_electrons
from molequi.structures.inputs import read_inputs
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.radicals import unpaired_of_smiles

MAIN_GROUP = [*range(1, 21), *range(31, 39), *range(49, 57), *range(81, 84)]


def unpaired(smiles: str) -> int | None:
    return unpaired_of_smiles(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize("number", MAIN_GROUP)
def test_lone_atoms_have_their_ground_state(number: int) -> None:
    symbol = chemical_symbols[number]
    assert unpaired(f"[{symbol}]") == ground_state_magnetic_moments[number]


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        # Ground terms of ions (NIST, Atomic Spectra Database): 2P, 3P, 4S.
        ("[C+]", 1), ("[N+]", 2), ("[O+]", 3),
        ("[O-]", 1), ("[F-]", 0),
        ("[Mg+]", 1), ("[Na+]", 0), ("[H+]", 0), ("[H-]", 0),
        ("[CH3]", 1), ("[CH2]", 2), ("[O][O]", 2), ("[N]=O", 1), ("O", 0),
        ("[Na+].[Cl-]", 0), ("[Mg].[C]", 2),
        ("[Fe+3]", None), ("[Cu+2].[O-]S(=O)(=O)[O-]", None), ("C[Mn]C", None),
    ],
)  # fmt: skip
def test_unpaired_electrons(smiles: str, expected: int | None) -> None:
    assert unpaired(smiles) == expected


def spin_of(smiles: str) -> tuple[int, str]:
    atoms: ase.Atoms = atoms_from_smiles(smiles)
    settle_electrons(atoms)
    return multiplicity_of(atoms, charge_of(atoms)), atoms.info["multiplicity_source"]


def test_what_bonds_do_not_say_is_assumed_and_said() -> None:
    assert spin_of("[C]") == (3, "the radicals of the atoms")
    assert spin_of("[Mg]") == (1, "assumed, the lowest for an even number of electrons")
    assert spin_of("CC |^1:0|") == (2, "the radicals of the atoms")
    assert spin_of("[Fe+3]") == (2, "assumed, the lowest for an odd number of electrons")


@pytest.mark.parametrize(
    ("smiles", "is_open"),
    [("FC=CF", True), ("F/C=C/F", False), ("C(F)(Cl)Br", True), ("F[C@H](Cl)Br", False),
     ("CCO", False), ("C1CC1C", False), ("FS(F)(F)(F)(F)F", False), ("FP(F)(F)(F)F", False),
     ("FS(F)(F)(F)(F)Cl", False), ("FS(F)(F)(F)(Cl)Cl", True), ("FP(F)(F)(F)Cl", True)],
)  # fmt: skip
def test_configurations_left_open_are_said(smiles: str, is_open: bool) -> None:
    info = atoms_from_smiles(smiles).info
    assert ("left open" in info["geometry"]) is is_open
    assert ("open_stereo" in info) is is_open


@pytest.mark.parametrize(
    ("smiles", "pattern"),
    [
        ("CC(F)Cl", r"C2 [RS]"),
        ("C[C@H](F)C(Cl)Br", r"C4 [RS]"),
        ("FC=CC(O)C", r"C4 [RS], C2=C3 [EZ]"),
        ("CC=C=CC(F)Cl", r"C2=C3=C4, C5 [RS]"),
        ("OC(=O)C=CC(=O)O", r"C4=C5 [EZ]"),
    ],
)
def test_what_was_chosen_is_named(smiles: str, pattern: str) -> None:
    """And it is so: a SMILES with the marks of the geometry has the same labels."""
    atoms = atoms_from_smiles(smiles, seed=3)
    said = atoms.info["open_stereo"]
    assert re.fullmatch(pattern, said), said
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(atoms.positions)
    molecule.AddConformer(conformer)
    Chem.AssignStereochemistryFrom3D(molecule)
    labels = {f"{one.GetSymbol()}{one.GetIdx() + 1}": one for one in molecule.GetAtoms()}
    # RDKit has no label for the axis of an allene, so that it is named alone.
    labelled = [text.split() for text in said.split(", ") if " " in text]
    assert len(labelled) == pattern.count(" [")
    for name, label in labelled:
        if "=" not in name:
            assert labels[name].GetProp("_CIPCode") == label
        else:
            first, second = (labels[end].GetIdx() for end in name.split("="))
            stereo = molecule.GetBondBetweenAtoms(first, second).GetStereo()
            assert str(stereo).endswith(label)


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("C[C@H](O)C=O |&1:1|", "C2 S"),  # a racemate
        ("C[C@H](O)C=O |o1:1|", "C2 S"),  # one hand, nobody knows which
        ("C[C@H](O)C=O |a:1|", None),
        ("C[C@H](O)[C@@H](F)C=O |a:1,&1:3|", "C4 R"),
    ],
)
def test_groups_of_enhanced_stereochemistry_are_open(smiles: str, said: str | None) -> None:
    info = atoms_from_smiles(smiles).info
    assert info.get("open_stereo") == said
    assert ("the one that is drawn" in info["geometry"]) is (said is not None)


def test_spins_of_metals_are_doubted() -> None:
    iron, copper = read_inputs(smiles=["[Fe+3]", "[Cu+]"])
    assert "no bonds tell the spin of Fe, which is assumed" in iron.labels()["reading"]
    assert "spin of Cu" in copper.labels()["reading"]
    (magnesium,) = read_inputs(smiles="[Mg+2]")
    assert "reading" not in magnesium.labels()


def test_triplets_that_nobody_calls_triplets_are_doubted() -> None:
    oxygen, water = read_inputs(smiles=["O=O", "O"])
    assert "O2 is a triplet in its ground state" in oxygen.labels()["reading"]
    assert "reading" not in water.labels()
    (stated,) = read_inputs(ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"multiplicity": 3}))
    assert "reading" not in stated.labels()
