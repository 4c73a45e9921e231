"""Structures that look unlike what was meant."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.collections import g2

from molequi.structures.doubts import doubtful_units, doubts_of, missing_hydrogens
from molequi.structures.molecules import atoms_from_smiles

COMPLETE = [
    "C(=O)=O",
    "N#CC#N",
    "ClC(Cl)(Cl)Cl",
    "FC(F)=C(F)F",
    "O=C=S",
    "BrC#CBr",
    "C(F)(F)(F)C#N",
]
HEAVY = ["CCO", "c1ccccc1", "CC#N", "NCC(=O)O", "C=C", "CC", "C1CC1"]


@pytest.mark.parametrize("smiles", COMPLETE)
def test_molecules_without_hydrogen_raise_no_doubt(smiles: str) -> None:
    assert missing_hydrogens(atoms_from_smiles(smiles)) is None


@pytest.mark.parametrize("smiles", HEAVY)
def test_missing_hydrogens_are_doubted(smiles: str) -> None:
    atoms = atoms_from_smiles(smiles)
    assert doubts_of(atoms) == []
    del atoms[atoms.numbers == 1]
    assert "has no hydrogens, but" in missing_hydrogens(atoms)


def test_what_has_no_open_valence() -> None:
    assert missing_hydrogens(molecule("C60")) is None
    assert missing_hydrogens(molecule("CO")) is None
    assert missing_hydrogens(bulk("C")) is None
    assert missing_hydrogens(ase.Atoms("C")) is None


def test_bohr_is_told_from_angstrom() -> None:
    """Over the G2 set: no molecule is doubted, and all of H, C, N and O are in bohr."""
    told = total = 0
    for name in g2.names:
        atoms = molecule(name)
        assert doubtful_units(atoms) is None, name
        atoms.positions /= units.Bohr
        n_hydrogens = int((atoms.numbers == 1).sum())
        if n_hydrogens >= 2 and np.isin(atoms.numbers, [1, 6, 7, 8]).all() and len(atoms) > 2:
            total += 1
            told += doubtful_units(atoms) is not None
    assert (told, total) == (64, 64)
