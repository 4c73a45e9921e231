"""Structures of an input: the atoms that are there, and the reason where there are none."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molequi.errors import UserError
from molequi.structures.inputs import Structure, first_atoms, one_structure


def test_atoms_are_required_by_name():
    water = molecule("H2O")
    assert Structure("a.xyz", 0, water).require_atoms() is water
    with pytest.raises(UserError, match=r"structure 3 of a\.xyz: no bonds"):
        Structure("a.xyz", 3, None, error="no bonds").require_atoms()


def test_first_atoms_are_a_copy(tmp_path):
    water = molecule("H2O")
    water.info["charge"] = 0
    copy = first_atoms(water)
    copy.positions += 1.0
    assert np.abs(water.positions).max() < 1.0
    water.write(tmp_path / "water.xyz")
    read = first_atoms(tmp_path / "water.xyz")
    assert isinstance(read, Atoms)
    np.testing.assert_allclose(read.positions, water.positions, atol=1e-7)


def test_a_file_or_a_smiles_but_not_both():
    with pytest.raises(UserError, match="not both"):
        one_structure("a.xyz", smiles="C")
