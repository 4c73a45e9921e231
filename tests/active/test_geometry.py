"""Torn and collapsed geometries, and descriptions that know no pose."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from molequi.active.geometry import shape_of, unreasonable


@pytest.mark.parametrize("name", ["H2O", "CH3CH2OH", "C6H6", "SiH4", "P2", "H2"])
def test_a_warm_geometry_is_reasonable(name):
    """0.05 Å an atom and axis is more than a stiff bond has at 600 K."""
    start = molecule(name)
    for seed in range(20):
        warm = start.copy()
        warm.rattle(0.05, seed=seed)
        assert unreasonable(warm, start) is None


def test_a_torn_bond_is_named():
    start, torn = molecule("H2O"), molecule("H2O")
    torn.set_distance(0, 1, 2.0, fix=0)
    assert unreasonable(torn, start) == "the bond O0-H1 is torn (2.00 Å)"


def test_atoms_that_were_never_bonded_may_not_collapse():
    start = molecule("H2O") + Atoms("He", [[0.0, 0.0, 4.0]])
    near = start.copy()
    near.positions[3] = near.positions[0] + [0.0, 0.0, 0.45]
    assert unreasonable(near, start) == "the atoms O0-He3 have collapsed"


def test_bonds_through_the_walls_of_a_cell_count():
    start = bulk("NaCl", "rocksalt", a=5.64)
    assert unreasonable(start, start) is None
    torn = start.copy()
    torn.positions[1] += [1.4, 0.0, 0.0]
    assert "Na0-Cl1" in unreasonable(torn, start)


def test_a_tight_start_is_its_own_measure():
    start = Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.35]])
    assert unreasonable(start, start) is None


def test_a_shape_knows_no_pose_hand_or_numbering():
    atoms = molecule("CH3CH2OH")
    turned = atoms.copy()
    turned.rotate(40.0, (1, 2, 3))
    turned.positions += 3.0
    turned.positions[:, 0] *= -1.0
    turned = turned[np.random.default_rng(0).permutation(len(atoms))]
    np.testing.assert_allclose(shape_of(turned), shape_of(atoms), atol=1e-12)
    assert len(shape_of(atoms)) == 9 * 8 // 2
    atoms.set_dihedral(2, 1, 0, 4, 10.0)
    assert np.linalg.norm(shape_of(turned) - shape_of(atoms)) > 0.01


def test_a_lone_atom_has_an_empty_shape():
    assert shape_of(Atoms("He")).shape == (0,)
