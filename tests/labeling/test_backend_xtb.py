from __future__ import annotations

import numpy as np
import pytest
from ase import units

pytest.importorskip("tblite", reason="tblite is not installed: pip install 'molequi[labels]'")

from molequi.labeling.backend_xtb import TBLite
from molequi.labeling.levels import LabelError, Molecule, parse_level
from molequi.properties import DEBYE

LEVEL = parse_level("gfn2-xtb")


def test_water(water):
    """xTB's own value for water is -5.0703 Ha at its minimum; here the geometry is another one."""
    values = TBLite().compute(LEVEL, ("energy", "dipole", "charges"), water)
    assert values["energy"] / units.Hartree == pytest.approx(-5.0703, abs=1e-3)
    assert values["dipole"][2] < 0
    assert values["dipole_magnitude"] == pytest.approx(np.linalg.norm(values["dipole"]) / DEBYE)
    assert values["charges"][0] < -0.4
    assert values["charges"].sum() == pytest.approx(0.0, abs=1e-8)
    assert TBLite().check(LEVEL, [1, 8]).startswith("tblite ")


def test_forces_are_the_slope_of_the_energy(methyloxirane):
    forces, step = TBLite().compute(LEVEL, ("forces",), methyloxirane)["forces"], 1e-4
    for atom, axis in ((0, 0), (3, 2), (7, 1)):
        energies = []
        for sign in (1, -1):
            moved = methyloxirane.positions.copy()
            moved[atom, axis] += sign * step
            energies.append(
                TBLite().compute(LEVEL, ("energy",), methyloxirane._replace(positions=moved))[
                    "energy"
                ]
            )
        assert forces[atom, axis] == pytest.approx(
            -(energies[0] - energies[1]) / (2 * step), abs=2e-3
        )


def test_ions_and_radicals():
    hydroxide = Molecule(np.array([8, 1]), np.array([[0, 0, 0], [0, 0, 0.96]]), -1)
    here, there = (
        TBLite().compute(LEVEL, (), hydroxide._replace(positions=hydroxide.positions + shift))
        for shift in (0.0, 7.0)
    )
    assert here["charges"].sum() == pytest.approx(-1.0, abs=1e-8)
    assert np.abs(here["dipole"] - there["dipole"]).max() < 1e-6  # about the centre of mass
    radical = hydroxide._replace(charge=0, multiplicity=2)
    assert TBLite().compute(LEVEL, (), radical)["energy"] > here["energy"]


def test_what_tblite_refuses_is_one_line():
    with pytest.raises(LabelError) as caught:
        TBLite().compute(LEVEL, (), Molecule(np.array([1, 1]), np.zeros((2, 3))))
    assert "\n" not in str(caught.value)
