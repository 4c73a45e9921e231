"""Geometries of SMILES: separate molecules stay separate."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from molequi.errors import UserError
from molequi.structures.molecules import (
    atoms_from_smiles,
    conformers_from_smiles,
    dropped_marks,
)

PAIRS = ["CC(=O)O.CCN", "N.N", "[NH4+].CC(=O)[O-]", "CCO.O", "[Na+].[Cl-]", "O.O.O", "C.[He]"]


def fragments(smiles: str) -> np.ndarray:
    """The number of the molecule that each atom belongs to."""
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    owner = np.empty(molecule.GetNumAtoms(), dtype=int)
    for index, atoms in enumerate(Chem.GetMolFrags(molecule)):
        owner[list(atoms)] = index
    return owner


@pytest.mark.parametrize("smiles", PAIRS)
def test_contacts_and_bonds(smiles: str) -> None:
    owner = fragments(smiles)
    for atoms in conformers_from_smiles(smiles, 2, seed=3):
        distances = atoms.get_all_distances()
        assert len(atoms) == len(owner)
        assert distances[owner[:, None] != owner[None]].min() > 1.5
        for index in range(owner.max() + 1):
            inside = distances[np.ix_(owner == index, owner == index)]
            np.fill_diagonal(inside, np.inf)
            assert len(inside) == 1 or inside.min(axis=1).max() < 1.6
        assert f"{owner.max() + 1} separate molecules placed" in atoms.info["geometry"]


def test_one_molecule_is_as_before_and_the_same_seed_gives_the_same_pair() -> None:
    assert atoms_from_smiles("CCO").info["geometry"] == "ETKDGv3 + MMFF94, seed 0"
    first, again = atoms_from_smiles("CCO.O"), atoms_from_smiles("CCO.O")
    assert np.array_equal(first.positions, again.positions)
    assert not np.allclose(first.positions, atoms_from_smiles("CCO.O", 1).positions)
    # Each molecule has the shape that it has alone.
    alone = atoms_from_smiles("O").get_all_distances()[0, 1:]
    water = fragments("CCO.O") == 1
    together = first.get_all_distances()[np.ix_(water, water)][0, 1:]
    assert together == pytest.approx(alone, abs=0.03)


def test_charges_and_spins_of_the_parts_add_up() -> None:
    pair = atoms_from_smiles("[Na+].CC(=O)[O-]")
    assert pair.info["formal_charge"] == 0
    assert atoms_from_smiles("[CH3].[CH3]").info["spin_multiplicity"] == 3


def test_molecules_that_a_force_field_merges_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molequi.structures.molecules.SHORTEST_CONTACT", 100.0)
    atoms = atoms_from_smiles("CCO.O")
    assert atoms.info["geometry"].startswith("ETKDGv3 + MMFF94; 2 separate molecules")
    assert "relaxed each alone" in atoms.info["geometry"]
    water = fragments("CCO.O") == 1
    distances = atoms.get_all_distances()
    assert distances[np.ix_(water, ~water)].min() > 2.5
    assert distances[np.ix_(water, water)][0, 1:] == pytest.approx(0.97, abs=0.01)


@pytest.mark.parametrize("smiles", ["C~C", "[Fe]~C", "CC~O"])
def test_bonds_without_an_order_make_no_geometry(smiles: str) -> None:
    with pytest.raises(UserError, match=r"cannot be made into a geometry: the bond of atoms \d"):
        atoms_from_smiles(smiles)
    assert len(atoms_from_smiles("[NH3]->[Fe]")) == 5  # a dative bond has one


def test_what_would_take_hours_is_refused_at_once() -> None:
    with pytest.raises(UserError, match="has 1202 atoms; more than 1,000 are not placed in space"):
        atoms_from_smiles("C" * 400)
    for n in (0, 10**9, 1.5, "3"):
        with pytest.raises(
            UserError, match=f"conformers is {n!r}; it must be a whole number from 1 to 10,000"
        ):
            conformers_from_smiles("C", n)


def test_a_seed_of_numpy_is_as_good_as_any() -> None:
    own, other = atoms_from_smiles("CCO", 3), atoms_from_smiles("CCO", np.int64(3))
    np.testing.assert_array_equal(own.positions, other.positions)


@pytest.mark.parametrize(
    ("smiles", "atoms"),
    [
        ("C[C@@H]1CC/C(=C/F)CC1", [1]),
        ("CC1CCC(=CF)CC1", []),
        ("CC[C@H](C)CC", []),  # no centre
        ("C[C@H](O)C=O", []),
        ("C[C@H](F)C=[C@]=CC", []),  # the mark of an allene
        ("[H][C@]1(C)CC/C(=C/F)CC1", []),  # not told where hydrogens are written out
    ],
)
def test_marks_that_are_dropped_are_told(smiles: str, atoms: list[int]) -> None:
    assert dropped_marks(smiles) == atoms
    said = "the hand of the mark at atom 1 is not understood"
    assert (said in atoms_from_smiles(smiles).info["geometry"]) == bool(atoms)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, "3", None])
def test_what_is_no_seed_is_refused(seed: object) -> None:
    """RDKit takes -1 for another seed each time, and Python's int() cuts 1.5 off."""
    with pytest.raises(UserError, match=r"seed is .*; it must be a whole number from 0 to 2,147"):
        atoms_from_smiles("CCO", seed)


def test_what_is_no_text_is_no_smiles() -> None:
    with pytest.raises(UserError, match="the SMILES is None, which is no text; write such as CCO"):
        atoms_from_smiles(None)
