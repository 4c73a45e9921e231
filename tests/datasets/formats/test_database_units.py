"""Units in the metadata of an ASE database, as SchNetPack writes them."""

from __future__ import annotations

from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase import units
from ase.build import molecule

from molequi.datasets.formats.extxyz import read_frames
from molequi.datasets.formats.inspection import inspect_frames
from molequi.errors import UserError

UNITS = {"energy": "kcal/mol", "forces": "kcal/mol/Ang", "mu": "Debye", "gap": "Hartree"}
KCAL = units.kcal / units.mol


def database(path: Path, metadata: dict) -> Path:
    values = {"forces": np.ones((3, 3)), "energy": np.array([-48000.0]), "gap": np.array([0.3])}
    with ase.db.connect(path) as file:
        for _ in range(3):
            file.write(molecule("H2O"), data=values)
        file.metadata = metadata
    return path


def test_stated_units_are_used_and_a_given_one_comes_first(tmp_path):
    path = database(
        tmp_path / "set.db", {"_property_unit_dict": UNITS, "_distance_unit": "Ang", "x": 1}
    )
    found = read_frames(path, targets=["energy", "forces", "gap"])
    assert found.frames.targets["energy"][0] == pytest.approx(-48000.0 * KCAL)
    assert found.frames.targets["forces"][0, 0] == pytest.approx(KCAL)
    assert found.frames.targets["gap"][0] == pytest.approx(0.3 * units.Hartree)
    assert {row.name: row.unit for row in found.report.rows}["energy"] == "kcal/mol"
    given = read_frames(path, targets=["energy"], units={"energy": "kJ/mol"})
    assert given.frames.targets["energy"][0] == pytest.approx(-48000.0 * units.kJ / units.mol)
    renamed = read_frames(path, targets=["homo"], keys={"homo": "gap"})
    assert renamed.frames.targets["homo"][0] == pytest.approx(0.3 * units.Hartree)


def test_a_database_without_units_is_taken_in_those_of_the_table(tmp_path):
    found = read_frames(database(tmp_path / "set.db", {}), targets=["energy"])
    assert found.frames.targets["energy"][0] == -48000.0


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"_distance_unit": "Bohr"}, "states that its positions are in Bohr"),
        ({"_property_unit_dict": {"energy": "kcl/mol"}}, "did you mean 'kcal'"),
        ({"_property_unit_dict": {"energy": "Debye"}}, "does not measure the same thing"),
    ],
)
def test_units_that_cannot_be_are_refused(tmp_path, metadata, message):
    with pytest.raises(UserError, match=message):
        read_frames(database(tmp_path / "set.db", metadata), targets=["energy"])


def test_what_is_inspected_is_told_in_the_stated_unit(tmp_path):
    path = database(tmp_path / "set.db", {"_property_unit_dict": UNITS})
    rows = {row.name: row for row in inspect_frames(path).rows}
    assert rows["energy"].unit == "kcal/mol"
