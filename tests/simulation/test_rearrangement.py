"""A structure that becomes another molecule on its way is told so."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from molequi.simulation.rearrangement import bonds_changed
from molequi.simulation.relaxation import relax
from molequi.simulation.vibrations import vibrations


def test_bonds_broken_and_made_are_named_by_their_atoms() -> None:
    water = molecule("H2O")
    apart = water.copy()
    apart.positions[1] += 3.0
    assert bonds_changed(water, apart) == "broken O0-H1"
    assert bonds_changed(apart, water) == "made O0-H1"
    near = water.copy()
    near.positions[2] = water.positions[1] + [0.0, 0.74, 0.0]
    assert bonds_changed(water, near) == "broken O0-H2; made H1-H2"
    chain = np.outer(np.arange(12.0), [1.1, 0.0, 0.0])
    found = bonds_changed(Atoms("N12", chain), Atoms("N12", 3.0 * chain))
    assert found == "broken N0-N1, N1-N2, N2-N3, N3-N4 and 7 more"


def test_stretched_turned_and_periodic_structures_keep_their_bonds() -> None:
    atoms = molecule("CH3CH2OH")
    moved = atoms.copy()
    moved.rotate(70, (1, 2, 3))
    moved.positions *= 1.15
    assert bonds_changed(atoms, moved) is None
    crystal = Atoms("H2", [[0.1, 0, 0], [9.6, 0, 0]], cell=[10.0, 10.0, 10.0], pbc=True)
    assert bonds_changed(crystal, crystal) is None
    torn = crystal.copy()
    torn.positions[1, 0] = 8.0
    assert bonds_changed(crystal, torn) == "broken H0-H1"


def test_relaxations_say_it_in_their_records_files_and_log(tmp_path, caplog) -> None:
    """Two hydrogen molecules that begin as a square of atoms far apart."""
    start = Atoms("H4", [[0, 0, 0], [1.3, 0, 0], [0, 1.35, 0], [1.3, 1.35, 0]])
    start.info["name"] = "square"
    output = tmp_path / "out.xyz"
    (record,) = relax([start], "organic", output=output)
    assert record["bonds_changed"] == "made H0-H1, H2-H3"
    assert ase.io.read(output).info["molequi_bonds_changed"] == record["bonds_changed"]
    assert "is another molecule once relaxed: bonds made H0-H1, H2-H3" in caplog.text
    (record,) = relax([molecule("H2O")], "organic")
    assert "bonds_changed" not in record
    caplog.clear()
    vibrations(start, "organic")
    assert "another molecule once relaxed: bonds made" in caplog.text


@pytest.mark.parametrize("name", ["H2O", "CH3CH2OH", "C6H6"])
def test_molecules_that_stay_say_nothing(name, caplog) -> None:
    vibrations(molecule(name), "organic")
    assert "another molecule" not in caplog.text
