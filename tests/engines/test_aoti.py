"""The AOTInductor package: what it gives for other numbers of atoms is what the model gives."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from molequi.cli.main import run
from molequi.engines.aoti_export import export_aoti, exported_program
from molequi.engines.traced import OneStructure, arguments, slope
from molequi.simulation.calculator import Calculator

pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's own tracing


def slanted_ice():
    atoms = molecule("H2O")
    atoms.set_cell([[5.0, 0, 0], [1.0, 4.6, 0], [0.3, -0.4, 4.8]])
    atoms.pbc = True
    return atoms.repeat((2, 1, 1))


def given(model, atoms):
    cell = atoms.cell.array if atoms.pbc.all() else None
    return arguments(model, atoms.positions, atoms.numbers, cell)


@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), slanted_ice], ids=["open", "ice"])
def test_the_function_of_plain_tensors_is_the_model(long_ranged, make):
    """What is exported, before anything is traced: far energies to the calculator's last digits."""
    atoms = make()
    atoms.calc = Calculator(long_ranged)
    one = OneStructure(long_ranged, is_periodic=bool(atoms.pbc.all()))
    energies, charges, dipole = one(*given(long_ranged, atoms))
    assert float(energies.sum()) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    forces = slope(one, given(long_ranged, atoms))
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(charges, atoms.get_charges(), atol=1e-10)
    if not atoms.pbc.any():
        np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-10)


@pytest.mark.long
@pytest.mark.parametrize("make", [lambda: molecule("CH3CH2OH"), slanted_ice], ids=["open", "ice"])
def test_the_exported_program_gives_forces_and_stress(long_ranged, make):
    atoms = make()
    atoms.calc = Calculator(long_ranged)
    program = exported_program(long_ranged, is_periodic=bool(atoms.pbc.all())).module()
    energies, forces, strain, charges, _ = program(*given(long_ranged, atoms))
    assert float(energies.sum()) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-9)
    np.testing.assert_allclose(charges, atoms.get_charges(), atol=1e-10)
    if atoms.pbc.all():
        stress = strain / atoms.get_volume()
        np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), atol=1e-9)


@pytest.mark.long
def test_the_package_gives_the_calculators_forces(network, tmp_path):
    export_aoti(network, tmp_path / "model.pt2")
    package = torch._inductor.aoti_load_package(str(tmp_path / "model.pt2"))
    atoms = molecule("CH3CH2OH")
    energies, forces, *_ = package(*given(network, atoms))
    atoms.calc = Calculator(network)
    assert float(energies.sum()) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-9)


def test_wrong_names_and_options_are_said(capsys, tmp_path):
    command = ["export", "organic", "-o", str(tmp_path / "model.pt")]
    assert run([*command, "--to", "aoti"]) == 2
    assert "use .pt2" in capsys.readouterr().err
    assert run([*command, "--to", "metatomic", "--periodic"]) == 2
    assert "--periodic is for" in capsys.readouterr().err
