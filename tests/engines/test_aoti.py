"""The AOTInductor package: what it gives for other numbers of atoms is what the model gives."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from molequi.cli.main import run
from molequi.engines.aoti_export import export_aoti, exported_program
from molequi.engines.traced import OneStructure, arguments, slope
from molequi.errors import UserError
from molequi.models.making import make_model
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
def test_the_number_of_atoms_is_left_open():
    """A product of three tensors, as `organic` has them, fixed it to that of the traced structure.

    The program is compared on another number before it is returned.
    """
    size = {"n_layers": 1, "n_channels": 2, "l_max": 1, "correlation": 2}
    model = make_model([1, 6, 8], ["energy", "forces"], **size)
    exported_program(model.to(torch.float64), is_periodic=False)


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


def test_failures_of_torch_are_said_in_one_line(network, monkeypatch, tmp_path):
    def broken(*_args, **_options):
        raise AssertionError("Guard failed: 640 * n == 8960\nand more")

    monkeypatch.setattr(torch.export, "export", broken)
    with pytest.raises(UserError, match=r"model random cannot be exported: torch .* 8960$"):
        exported_program(network, is_periodic=False)
    monkeypatch.setattr("molequi.engines.aoti_export.exported_program", lambda *_, **__: None)
    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", broken)
    with pytest.raises(UserError, match="cannot be compiled by this machine's compiler: torch"):
        export_aoti(network, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_an_untrained_charge_is_refused_at_once(capsys, tmp_path):
    command = ["export", "organic", "--to", "aoti", "-o", str(tmp_path / "model.pt2")]
    assert run([*command, "--charge", "7"]) == 2
    assert "trained for total charges" in capsys.readouterr().err
