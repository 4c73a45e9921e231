"""Conformers of one molecule: which are the same, and which became another molecule."""

from __future__ import annotations

import itertools

import ase
import numpy as np
import pytest
from ase.build import molecule

from molequi.models.zoo import load
from molequi.simulation.calculator import Calculator
from molequi.simulation.conformer_shapes import is_same_conformer
from molequi.simulation.conformers import (
    _changed,
    conformer_pool,
    mirrored,
)
from molequi.simulation.relaxation import relax_atoms
from molequi.structures.inputs import read_inputs
from molequi.structures.molecules import atoms_from_smiles


def test_conformers_are_told_apart_by_hand_but_not_by_pose_or_names():
    gauche = ase.Atoms("OOHH", [[0, 0.72, 0], [0, -0.72, 0], [0.8, 0.9, 0.5], [-0.8, -0.9, 0.5]])
    mirror = ase.Atoms(gauche.numbers, -gauche.positions)
    turned = gauche.copy()
    turned.rotate(77, (1, 2, 3))
    renamed = turned[[1, 0, 3, 2]]
    assert is_same_conformer(gauche, renamed)
    assert not is_same_conformer(gauche, mirror)
    water = molecule("H2O")
    assert is_same_conformer(water, ase.Atoms(water.numbers, -water.positions))


def test_a_conformer_that_became_another_molecule_is_named():
    ether, alcohol = molecule("CH3OCH3"), molecule("CH3CH2OH")
    assert _changed(ether, alcohol, []) == "its bonds became those of CCO in place of COC"
    assert _changed(ether, ether, []) == ""
    hand = atoms_from_smiles("C[C@H](O)C=O")
    assert _changed(hand, hand, ["S"]) == ""
    mirror = ase.Atoms(hand.numbers, -hand.positions)
    assert _changed(hand, mirror, ["S"]) == "its stereocentres became R in place of S"


def test_a_form_that_is_seldom_made_is_found():
    """Eight geometries of ethanol by ETKDG were gauche, all of them; anti lies lower in energy."""
    calculator = Calculator(load("organic"))
    ethanol = molecule("CH3CH2OH")  # anti
    ethanol.calc = calculator
    lowest = relax_atoms(ethanol, fmax=0.02).atoms.get_potential_energy()
    (structure,) = read_inputs(smiles="CCO")
    pool = conformer_pool(structure, 8, 0, calculator)
    assert len(pool.energies) == 3
    assert pool.energies[0] == pytest.approx(lowest, abs=1e-4)
    assert pool.energies[1] == pytest.approx(pool.energies[2], abs=1e-4)
    assert pool.energies[1] - lowest > 0.003
    (only,) = conformer_pool(structure, 1, 0, calculator).atoms[:1]
    assert is_same_conformer(only, pool.atoms[1]) or is_same_conformer(only, pool.atoms[2])


def test_a_conformer_keeps_the_bonds_of_its_smiles():
    """By distances its two phosphorus atoms have a triple bond."""
    atoms = atoms_from_smiles("C[P@](CC)[P@](C)CC")
    assert _changed(atoms, atoms, ["R", "R"]) == ""
    apart = atoms.copy()
    apart.positions[-1] += 3.0
    assert "cannot be found" in _changed(atoms, apart, ["R", "R"])


def test_conformers_keep_isotopes(morse):
    (structure,) = read_inputs(smiles="[2H]O")
    (atoms,) = conformer_pool(structure, 1, 0, Calculator(morse())).atoms
    assert sorted(mirrored(atoms).get_masses()) == pytest.approx([1.008, 2.0141, 15.999], abs=1e-3)


def test_conformers_are_told_apart_by_the_place_of_an_isotope():
    """In the methyl of acetaldehyde one hydrogen lies in the plane, two beside it."""
    heavy = []
    for place in np.flatnonzero(molecule("CH3CHO").numbers == 1)[-3:]:
        atoms = molecule("CH3CHO")
        masses = atoms.get_masses()
        masses[place] = 2.0141
        atoms.set_masses(masses)
        heavy.append(atoms)
    pairs = [is_same_conformer(a, b) for a, b in itertools.combinations(heavy, 2)]
    assert pairs == [False, False, False]
    assert sum(is_same_conformer(mirrored(a), b) for a in heavy for b in heavy) == 3
