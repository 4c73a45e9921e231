"""Masses and the centre of mass, of one molecule and of many."""

import subprocess
import sys

import numpy as np
import torch
from ase.build import molecule
from ase.data import atomic_masses

from molequi.graphs.elements import MASSES, N_ELEMENTS, about_centre_of_mass
from molequi.graphs.graph import mass_centres


def test_masses_are_by_atomic_number():
    assert len(MASSES) == N_ELEMENTS
    assert MASSES[8] == atomic_masses[8] == 15.999


def test_centre_of_mass_is_that_of_ase():
    atoms = molecule("CH3CH2OH")
    np.testing.assert_allclose(
        about_centre_of_mass(atoms.positions, atoms.get_masses()),
        atoms.positions - atoms.get_center_of_mass(),
        atol=1e-14,
    )


def test_centres_of_many_molecules_with_an_empty_one():
    several = [molecule("H2O"), molecule("CH4")]
    counts = torch.tensor([3, 0, 5])
    found = mass_centres(
        torch.as_tensor(np.concatenate([atoms.positions for atoms in several])),
        torch.tensor(MASSES)[np.concatenate([atoms.numbers for atoms in several])],
        torch.repeat_interleave(torch.arange(3), counts),
        3,
    )
    expected = [atoms.get_center_of_mass() for atoms in several]
    np.testing.assert_allclose(found.centres[[0, 2]].numpy(), expected, atol=1e-14)
    assert found.centres[1].tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(
        found.masses[[0, 2]].numpy(), [atoms.get_masses().sum() for atoms in several]
    )


def test_label_workers_start_without_torch():
    code = (
        "import sys, molequi.labeling.protocol, molequi.graphs.elements, molequi.properties; "
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
