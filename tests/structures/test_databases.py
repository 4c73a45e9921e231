"""Databases of ASE: what their rows say beside the atoms."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.db import connect

from molequi.structures.readers import read_structures

CARBONATE = Atoms(
    "CO3", [[0.0, 0.0, 0.0], [1.3, 0.0, 0.0], [-0.65, 1.1258, 0.0], [-0.65, -1.1258, 0.0]]
)


@pytest.mark.parametrize("name", ["a.db", "a.json"])
def test_keys_that_are_properties_of_ase_too(tmp_path: Path, name: str) -> None:
    """ASE's rows have a charge, a mass and a volume of their own."""
    with connect(tmp_path / name) as database:
        database.write(CARBONATE, charge=-2, multiplicity=3, mass=7.0, data={"note": "x"})
    ((_, atoms),) = read_structures(tmp_path / name)
    assert isinstance(atoms, Atoms)
    assert atoms.info["charge"] == -2
    assert atoms.info["spin_multiplicity"] == 3
    assert atoms.info["charge_source"] == "charge=-2"
    assert (atoms.info["mass"], atoms.info["note"]) == (7.0, "x")
