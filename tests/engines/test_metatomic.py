"""The metatomic export: metatomic's own ASE calculator gives the calculator's numbers from it."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from molequi.cli.main import run
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.simulation.calculator import Calculator

pytestmark = pytest.mark.filterwarnings("ignore")  # of TorchScript, which torch calls deprecated

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("metatomic.torch", reason="pip install 'molequi[metatomic]'")
    metatomic_ase = pytest.importorskip("metatomic_ase")
    from metatomic.torch import ModelOutput

    from molequi.engines.metatomic_export import export_metatomic


@pytest.fixture(scope="module")
def exported(long_ranged, tmp_path_factory):
    """The file for neutral systems and the one for anions."""
    files = {}
    for charge in (0, -1):
        files[charge] = tmp_path_factory.mktemp("exported") / f"charge{charge}.pt"
        export_metatomic(long_ranged, files[charge], total_charge=charge)
    return files


def calculator(path):
    return metatomic_ase.MetatomicCalculator(str(path), device="cpu")


def slanted_ice():
    atoms = molecule("H2O")
    atoms.set_cell([[5.0, 0, 0], [1.0, 4.6, 0], [0.3, -0.4, 4.8]])
    atoms.pbc = True
    return atoms.repeat((2, 1, 1))


@pytest.mark.parametrize("name", ["CH3CH2OH", "H2O", "H"])
def test_molecules_have_the_calculators_forces(exported, long_ranged, name):
    atoms, expected = molecule(name), molecule(name)
    atoms.calc, expected.calc = calculator(exported[0]), Calculator(long_ranged, unsafe=True)
    assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-9)


def test_an_ion_has_the_calculators_forces(exported, long_ranged):
    atoms, expected = molecule("CH3O"), molecule("CH3O")
    atoms.calc, expected.calc = calculator(exported[-1]), Calculator(long_ranged, charge=-1)
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-9)


@pytest.mark.parametrize("make", [slanted_ice, lambda: bulk("C")], ids=["ice", "diamond"])
def test_crystals_have_the_calculators_forces_and_stress(exported, long_ranged, make):
    """Far energies included: Ewald's sum of the charges, D3 to its end."""
    atoms = make()
    atoms.rattle(0.05, seed=1)
    expected = atoms.copy()
    atoms.calc, expected.calc = calculator(exported[0]), Calculator(long_ranged)
    assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), abs=1e-8)
    np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), atol=1e-8)
    np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), atol=1e-9)


def test_charges_and_dipole_are_given(exported, long_ranged):
    atoms = molecule("CH3CH2OH")
    wanted = {
        "charge": ModelOutput(unit="e", sample_kind="atom"),
        "molequi::dipole": ModelOutput(unit="e*A", sample_kind="system"),
    }
    found = calculator(exported[0]).run_model(atoms, wanted)
    atoms.calc = Calculator(long_ranged)
    charges = found["charge"].block().values[:, 0].detach()
    np.testing.assert_allclose(charges, atoms.get_charges(), atol=1e-10)
    dipole = found["molequi::dipole"].block().values[0].detach()
    np.testing.assert_allclose(dipole, atoms.get_dipole_moment(), atol=1e-10)


def test_a_model_without_far_energies_is_exported_by_the_command(network, tmp_path):
    """The file runs where molequi cannot be imported."""
    save_model(network, tmp_path / "model.safetensors")
    file = tmp_path / "model.pt"
    assert (
        run(["export", str(tmp_path / "model.safetensors"), "--to", "metatomic", "-o", str(file)])
        == 0
    )
    code = (
        "import sys, warnings; sys.modules['molequi'] = None; warnings.simplefilter('ignore')\n"
        "from ase.build import molecule; from metatomic_ase import MetatomicCalculator\n"
        f"atoms = molecule('CH3OH'); atoms.calc = MetatomicCalculator({str(file)!r})\n"
        "print(repr(float(atoms.get_potential_energy())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = Calculator(network).get_property("energy", molecule("CH3OH"))
    assert float(done.stdout) == pytest.approx(expected, abs=1e-9)


def test_what_cannot_be_exported_is_refused(tmp_path, capsys):
    model = make_model([1, 6, 8], ["dipole"], n_layers=1, n_channels=4)
    save_model(model.to(torch.float64), tmp_path / "model.safetensors")
    command = ["export", str(tmp_path / "model.safetensors"), "--to", "metatomic"]
    assert run([*command, "-o", str(tmp_path / "model.pt")]) == 2
    assert "no energy to export" in capsys.readouterr().err
    assert run([*command, "-o", str(tmp_path / "model.xyz")]) == 2
    assert "use .pt" in capsys.readouterr().err
    assert not (tmp_path / "model.pt").exists()
