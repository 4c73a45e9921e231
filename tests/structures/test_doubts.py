"""Structures that look unlike what was meant."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.collections import g2

from molequi.structures.atoms import settle_electrons
from molequi.structures.doubts import bare_molecule, doubtful_units, doubts_of, missing_hydrogens
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
    # Two carbons alone may be a stretched C2, and CH3CN without hydrogen is as CCN.
    assert (bare_molecule(atoms) is None) == (smiles in {"CC", "C=C", "CC#N"})


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


@pytest.mark.parametrize("name", ["charge", "charges", "mulliken_charges"])
def test_partial_charges_of_an_ion_that_nothing_names(name: str) -> None:
    unnamed = ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.96]])
    unnamed.set_array(name, np.array([-1.21, 0.22]))
    named = unnamed.copy()
    named.info["charge"] = -1
    for atoms in (unnamed, named):
        settle_electrons(atoms)
    (line,) = doubts_of(unnamed)
    assert line.startswith(f"{name} of the atoms add up to -1 e, but nothing states a total charge")
    assert doubts_of(named) == []


def test_charges_that_say_nothing() -> None:
    water = molecule("H2O")
    for values in (
        water.numbers,
        [-0.8, 0.4, 0.4],
        [-0.8, 0.4, 0.1],
        [1e308, 1e308, 0],
        [1e9, 0, 0],
    ):
        water.set_array("charges", np.array(values, dtype=float))
        settle_electrons(water)
        assert doubts_of(water) == []
        del water.arrays["charges"]
