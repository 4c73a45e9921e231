"""Shapes of atoms with more than four electron pairs: angles of Gillespie and Nyholm's rule."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from molequi.structures.molecules import atoms_from_smiles, conformers_from_smiles
from molequi.structures.polyhedra import bounds, shapes


def angles(smiles: str, centre: str, seed: int = 0) -> list[int]:
    """The angles at the first atom of an element between its bonds, in steps of 15°, sorted."""
    atoms = atoms_from_smiles(smiles, seed)
    heavy = Chem.AddHs(Chem.MolFromSmiles(smiles))
    (atom, *_) = (a for a in heavy.GetAtoms() if a.GetSymbol() == centre)
    vectors = (
        atoms.positions[[n.GetIdx() for n in atom.GetNeighbors()]] - atoms.positions[atom.GetIdx()]
    )
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    found = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    return sorted((15 * np.round(found / 15.0)).astype(int).tolist())


OCTAHEDRON = 12 * [90] + 3 * [180]
BIPYRAMID = 6 * [90] + 3 * [120] + [180]


@pytest.mark.parametrize(
    ("smiles", "centre", "expected"),
    [
        ("FS(F)(F)(F)(F)F", "S", OCTAHEDRON),
        ("F[P-](F)(F)(F)(F)F", "P", OCTAHEDRON),
        ("F[Si-2](F)(F)(F)(F)F", "Si", OCTAHEDRON),
        ("FS(F)(F)(F)(F)c1ccccc1", "S", OCTAHEDRON),
        ("[NH4+].F[P-](F)(F)(F)(F)F", "P", OCTAHEDRON),
        ("FP(F)(F)(F)F", "P", BIPYRAMID),
        ("O=S(F)(F)(F)F", "S", BIPYRAMID),
        ("FI(F)(F)(F)F", "I", 8 * [90] + 2 * [180]),  # a square pyramid
        ("F[Xe](F)(F)F", "Xe", 4 * [90] + 2 * [180]),  # a square
        ("ClI(Cl)c1ccccc1", "I", 2 * [90] + [180]),  # a T
        ("CC(=O)OI(OC(C)=O)c1ccccc1", "I", 2 * [90] + [180]),
        ("F[Xe]F", "Xe", [180]),
        ("I[I-]I", "I", []),  # the first one; the line itself below
    ],
)
def test_neighbours_stand_where_electron_pairs_have_them(
    smiles: str, centre: str, expected: list[int]
) -> None:
    assert angles(smiles, centre) == expected


def test_no_two_atoms_fall_together() -> None:
    """Fluorine atoms of PF5 were 0.87 Å apart, whatever the seed."""
    for smiles in ("FP(F)(F)(F)F", "FS(F)(F)(F)(F)F", "ClP(Cl)(Cl)(Cl)Cl", "FS(F)(F)F", "I[I-]I"):
        for atoms in conformers_from_smiles(smiles, 3, seed=5):
            distances = atoms.get_all_distances()[np.triu_indices(len(atoms), 1)]
            assert distances.min() > 1.4
    line = atoms_from_smiles("I[I-]I")
    assert line.get_angle(0, 1, 2) == pytest.approx(180.0, abs=3.0)


def placed(smiles: str, seed: int = 0) -> dict[str, list[str]]:
    """The elements of the neighbours: at the poles, and on the equator."""
    molecule = Chem.MolFromSmiles(smiles)
    (shape,) = shapes(molecule, seed)
    found: dict[str, list[str]] = {"poles": [], "equator": []}
    for neighbour, direction in zip(shape.neighbours, shape.directions, strict=True):
        place = "poles" if abs(direction[2]) > 0.5 else "equator"
        found[place].append(molecule.GetAtomWithIdx(neighbour).GetSymbol())
    return {place: sorted(symbols) for place, symbols in found.items()}


def test_bipyramids_have_halogens_at_the_poles_and_double_bonds_on_the_equator() -> None:
    for seed in range(5):
        assert placed("CP(C)(C)(F)F", seed) == {"poles": ["F", "F"], "equator": ["C", "C", "C"]}
        assert placed("O=S(F)(F)(F)F", seed) == {"poles": ["F", "F"], "equator": ["F", "F", "O"]}
        assert placed("ClI(Cl)C", seed) == {"poles": ["Cl", "Cl"], "equator": ["C"]}
        assert placed("CS(C)(F)F", seed) == {"poles": ["F", "F"], "equator": ["C", "C"]}
        assert placed("O=[Xe](F)(F)(F)F", seed) == {"poles": ["O"], "equator": ["F", "F", "F", "F"]}
    # A ring of five atoms spans a right angle.
    assert placed("CP1(C)(C)OCCO1") == {"poles": ["C", "O"], "equator": ["C", "C", "O"]}


def test_a_shape_that_does_not_fit_is_given_up() -> None:
    """A ring of four that no embedding within the bounds closes is placed without them."""
    atoms = atoms_from_smiles("C1CCS1C#C")
    assert len(atoms) == 14
    assert atoms.get_all_distances()[np.triu_indices(14, 1)].min() > 0.9


def test_marks_that_are_kept_in_part_are_said() -> None:
    """Of @OH1 RDKit keeps what stands opposite what."""
    info = atoms_from_smiles("F[S@OH1](Cl)(Br)(F)(F)F").info
    assert "the hand of the mark at atom 1 is not understood" in info["geometry"]
    assert "mark" not in atoms_from_smiles("FS(Cl)(Br)(F)(F)F").info["geometry"]


@pytest.mark.parametrize(
    "smiles", ["CCO", "CS(C)=O", "OS(=O)(=O)O", "c1ccsc1", "O=Cl(=O)(=O)O", "C[I+]C", "CP(C)C"]
)
def test_other_atoms_have_no_such_shape(smiles: str) -> None:
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert not list(shapes(molecule, 0))
    assert bounds(molecule, 0) is None
