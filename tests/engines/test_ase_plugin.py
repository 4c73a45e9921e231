"""ASE's plugin register: what it finds is the calculator."""

import numpy as np
import pytest
from ase.build import molecule

from molequi.simulation.calculator import Calculator

plugins = pytest.importorskip("ase._4.plugins", reason="this ASE has no plugins").plugins


def test_ase_finds_the_calculator():
    (found,) = plugins.by_package["molequi"].calculators
    assert (found.name, found.implementation) == ("molequi", Calculator)
    assert "molequi.engines.ase_plugin" in plugins.display()


def test_forces_are_those_of_the_calculator(network):
    (found,) = plugins.by_package["molequi"].calculators
    atoms = molecule("CH3OH")
    atoms.calc = found.implementation(network)
    expected = Calculator(network).get_property("forces", molecule("CH3OH"))
    np.testing.assert_array_equal(atoms.get_forces(), expected)
