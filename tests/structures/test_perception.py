"""R and S read off bare coordinates."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import bulk
from ase.build import molecule as build
from rdkit import Chem
from scipy.spatial.transform import Rotation

from molequi.datasets.npz import load_npz
from molequi.structures.cip import constitution_of
from molequi.structures.molecules import atoms_from_smiles
from molequi.structures.perception import (
    bonds_of_smiles,
    labels_from_geometry,
    molecule_from_geometry,
)


@pytest.mark.parametrize(
    ("smiles", "label"),
    [("C[C@H](N)C(=O)O", "S"), ("N[C@@H](CS)C(=O)O", "R"), ("F[C@H](Cl)Br", "R")],
)
def test_known_molecules_in_any_orientation(smiles: str, label: str) -> None:
    atoms = atoms_from_smiles(smiles)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(atoms))
    turned = ase.Atoms(
        atoms.numbers[order], Rotation.random(random_state=0).apply(atoms.positions[order]) + 3.0
    )
    for sign, expected in ((1, label), (-1, {"R": "S", "S": "R"}[label])):
        found = labels_from_geometry(ase.Atoms(turned.numbers, sign * turned.positions))
        assert found.status == "ok"
        assert list(found.centres.values()) == [expected]
        assert found.labels.kind == "chiral"
        assert found.labels.signs.sum() == (1 if expected == "R" else -1)


def test_charge_decides_the_bonds() -> None:
    zwitterion = atoms_from_smiles("C[C@H]([NH3+])C(=O)[O-]")
    assert list(labels_from_geometry(zwitterion).centres.values()) == ["S"]
    cation = atoms_from_smiles("C[C@H]([NH3+])C(=O)O")
    assert list(labels_from_geometry(cation).centres.values()) == ["S"]
    wrong = labels_from_geometry(cation, charge=-3)
    assert wrong.labels is None
    assert "with charge -3 cannot be found" in wrong.status
    assert "give the right charge and all hydrogens" in wrong.status
    assert wrong.centres == {}


def test_missing_hydrogens_and_other_structures_have_a_reason() -> None:
    bare = atoms_from_smiles("C[C@H](N)C(=O)O")
    bare = bare[[atom.index for atom in bare if atom.symbol != "H"]]
    assert "cannot be found" in labels_from_geometry(bare, charge=0).status
    assert "periodic" in labels_from_geometry(bulk("NaCl", "rocksalt", a=5.6)).status
    assert "unpaired electrons" in labels_from_geometry(build("NO")).status
    broken = build("H2O")
    broken.positions[0] = np.nan
    assert "not finite" in labels_from_geometry(broken).status


def test_given_bonds() -> None:
    atoms = atoms_from_smiles("F[C@H](Cl)Br")
    centre = atoms.symbols.search("C")[0]
    bonds = [(int(centre), other, 1) for other in range(len(atoms)) if other != centre]
    found = labels_from_geometry(atoms, bonds=bonds)
    assert found.centres == {centre: "R"}
    assert found.smiles == "F[C@H](Cl)Br"
    assert "bond 0-9 of order 1 is none" in labels_from_geometry(atoms, bonds=[(0, 9, 1)]).status
    assert (
        "the bonds make no molecule"
        in labels_from_geometry(
            atoms, bonds=[(int(centre), other, 2) for _, other, _ in bonds]
        ).status
    )
    ammonium = atoms_from_smiles("C[C@H]([NH3+])C(=O)[O-]")
    assert (
        "the bonds make no molecule"
        in labels_from_geometry(build("NH3"), bonds=[(0, 1, 1), (0, 2, 2), (0, 3, 1)]).status
    )
    charges = [1] + [0] * 4
    methyl = build("CH4")
    methyl.numbers[0] = 7
    assert (
        labels_from_geometry(
            methyl, bonds=[(0, k, 1) for k in range(1, 5)], formal_charges=charges
        ).status
        == "ok"
    )
    assert labels_from_geometry(ammonium, charge=0).labels.kind == "chiral"


@pytest.mark.parametrize(
    "smiles",
    [
        "CC[P@@](C)[P@](C)CC",
        "CCC[P@+](C)(CC)C(C)C",
        "CC[S@](C)=O",
        "CCC[Se@@+](C)CC",
        "C[C@H](O)[O]",
    ],
)
def test_bonds_of_a_smiles_are_kept(smiles: str) -> None:
    """By distances P-P passes for P#P, and four bonds of phosphorus for none."""
    atoms = atoms_from_smiles(smiles)
    assert labels_from_geometry(atoms).smiles == Chem.CanonSmiles(smiles)
    atoms.info["smiles"] = "CCO"
    assert labels_from_geometry(atoms).smiles != Chem.CanonSmiles(smiles)


def test_bonds_of_a_smiles_hold_while_the_geometry_has_them() -> None:
    atoms = atoms_from_smiles("CC[P@@](C)[P@](C)CC")
    assert bonds_of_smiles(atoms) is not None
    assert bonds_of_smiles(atoms, charge=2) is None
    assert bonds_of_smiles(atoms[::-1]) is None
    atoms.positions[-1] += 3.0
    assert bonds_of_smiles(atoms) is None


@pytest.mark.parametrize("smiles", ["CP(C)P(C)C", "CS(=O)S(C)=O"])
def test_bonds_that_may_be_multiple_are_not_found(smiles: str) -> None:
    atoms = atoms_from_smiles(smiles)
    found = labels_from_geometry(ase.Atoms(atoms.numbers, atoms.positions))
    assert found.labels is None
    assert "cannot be told from a multiple one" in found.status


def test_achiral_molecules_have_no_labels() -> None:
    found = labels_from_geometry(build("CH3CH2OH"))
    assert (found.status, found.centres, found.labels.kind) == ("ok", {}, "achiral")
    assert np.isnan(found.labels.handedness).all()
    assert constitution_of(molecule_from_geometry(build("CH3CH2OH"))) == "CCO"


def test_sample_of_qm9_has_the_labels_of_its_geometries(checkout: Path) -> None:
    frames = load_npz(checkout / "data" / "samples" / "qm9_chirality_sample.npz").frames
    agreed = 0
    for index in range(100):
        rows = slice(int(frames.offsets[index]), int(frames.offsets[index + 1]))
        atoms = ase.Atoms(frames.atomic_numbers[rows].numpy(), frames.positions[rows].numpy())
        found, mirror = (
            labels_from_geometry(atoms),
            labels_from_geometry(ase.Atoms(atoms.numbers, -atoms.positions)),
        )
        if found.labels is not None:
            np.testing.assert_array_equal(found.labels.signs, -mirror.labels.signs)
            agreed += np.array_equal(
                found.labels.handedness, frames.targets["handedness"][rows].numpy(), equal_nan=True
            )
    assert agreed >= 98


def test_labels_of_qm9_with_several_centres(reference_data: Callable[[str], Path]) -> None:
    """Published with the set, read off the same geometries.

    Strained cages, where bonds cannot be told from contacts, may have none.
    """
    arrays = np.load(reference_data("qm9/qm9_core.npz"), allow_pickle=False)
    offsets = np.concatenate([[0], np.cumsum(arrays["n_atoms"])])
    rows = {int(number): row for row, number in enumerate(arrays["index"])}
    with gzip.open(reference_data("qm9/qm9_chirality.csv.gz"), "rt") as handle:
        lines = [
            line
            for line in csv.DictReader(handle)
            if line["is_chiral"] == "1" and line["status"] == "ok"
        ]
    z, positions = arrays["z"], arrays["pos"].astype(np.float64)
    agreed = failed = 0
    for number in np.random.default_rng(0).choice(len(lines), 200, replace=False):
        line = lines[number]
        row = rows[int(line["index"])]
        atoms = slice(offsets[row], offsets[row + 1])
        found = labels_from_geometry(ase.Atoms(z[atoms], positions[atoms]))
        failed += found.labels is None
        agreed += (
            ";".join(f"{atom}:{label}" for atom, label in found.centres.items() if label in "RS")
            == line["cip"]
        )
    assert failed <= 2
    assert agreed >= 196


@pytest.mark.parametrize("smiles", ["C[C@@H](O)[2H]", "C[C@H](F)[2H]", "[13CH3][C@H](C)O"])
def test_isotopes_make_centres(smiles: str) -> None:
    (expected,) = (label for _, label in Chem.FindMolChiralCenters(Chem.MolFromSmiles(smiles)))
    found = labels_from_geometry(atoms_from_smiles(smiles, 0))
    assert list(found.centres.values()) == [expected]
    assert not found.is_conformer_of_image


def test_isotopes_that_make_no_centre() -> None:
    for smiles in ("CC([2H])([2H])O", "[2H]C([2H])([2H])CO"):
        found = labels_from_geometry(atoms_from_smiles(smiles, 0))
        assert not found.centres
        assert found.is_conformer_of_image


def test_a_mirror_image_needs_no_ranking() -> None:
    """The ranking of cubane's centres does not end."""
    found = labels_from_geometry(atoms_from_smiles("C12C3C4C1C5C2C3C45", 0))
    assert found.labels is None
    assert "CIP labels" in found.status
    assert found.is_conformer_of_image
