"""torch-sim: its validation, the calculator's numbers for many systems, charges kept."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from molequi.errors import UserError
from molequi.models.making import make_model
from molequi.simulation.calculator import Calculator

pytestmark = pytest.mark.filterwarnings("ignore")  # what torch-sim's own imports warn of

torch_sim = pytest.importorskip("torch_sim", reason="pip install 'molequi[torchsim]'")
from torch_sim.models.interface import validate_model_outputs  # noqa: E402

from molequi.engines.torchsim import TorchSimModel  # noqa: E402


def state_of(atoms):
    return torch_sim.io.atoms_to_state(atoms, torch.device("cpu"), torch.float64)


def test_it_passes_their_validation():
    network = make_model([12, 14, 26], ["energy", "forces"], n_layers=1, n_channels=4)
    model = TorchSimModel(network.to(torch.float64), spin_multiplicity=1)
    validate_model_outputs(model, torch.device("cpu"), torch.float64)


def test_molecules_have_the_calculators_numbers(charged_network):
    molecules = [molecule(name) for name in ("CH3OH", "C2H6", "NH3", "H2O")]
    found = TorchSimModel(charged_network, compute_stress=False)(state_of(molecules))
    assert set(found) == {"energy", "forces", "dipole", "charges"}
    for k, atoms in enumerate(molecules):
        atoms.calc = Calculator(charged_network)
        assert float(found["energy"][k]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(found["dipole"][k], atoms.get_dipole_moment(), atol=1e-9)
    forces = np.concatenate([atoms.get_forces() for atoms in molecules])
    np.testing.assert_allclose(found["forces"], forces, atol=1e-9)


def test_crystals_have_the_calculators_stress(network):
    cells = [bulk("C"), bulk("C").repeat((2, 1, 1))]
    cells[1].rattle(0.05, seed=0)
    cells[1].set_cell(cells[1].cell.array + 0.1 * np.arange(9).reshape(3, 3) ** 0.5)
    found = TorchSimModel(network)(state_of(cells))
    for k, atoms in enumerate(cells):
        atoms.calc = Calculator(network)
        np.testing.assert_allclose(found["stress"][k], atoms.get_stress(voigt=False), atol=1e-10)


def test_charge_and_spin_are_kept(long_ranged):
    """Of all systems by argument; of each where the state says it."""
    ion, neutral = molecule("CH3O"), molecule("CH3OH")
    state = state_of([ion, neutral])
    with pytest.raises(UserError, match="spin multiplicity 2"):
        TorchSimModel(long_ranged, compute_stress=False)(state)
    vars(state)["_system_extras"] = {"charge": torch.tensor([-1.0, 0.0])}
    found = TorchSimModel(long_ranged, compute_stress=False)(state)
    alone = TorchSimModel(long_ranged, compute_stress=False, total_charge=-1)(state_of([ion]))
    ion.calc, neutral.calc = Calculator(long_ranged, charge=-1), Calculator(long_ranged)
    expected = [ion.get_potential_energy(), neutral.get_potential_energy()]
    np.testing.assert_allclose(found["energy"], expected, atol=1e-9)
    np.testing.assert_allclose(alone["forces"], ion.get_forces(), atol=1e-9)
    assert float(found["charges"][: len(ion)].sum()) == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("electrons", "message"),
    [
        ({"spin_multiplicity": 2}, "multiplicity 2 does not go with the 18 electrons of CH4O"),
        ({"total_charge": -0.5}, "charge -0.5.* is not a whole number"),
        ({"total_charge": 19}, "18 electrons when neutral"),
    ],
)
def test_electrons_that_no_system_has_are_refused(charged_network, electrons, message):
    """By argument, where they were computed or ended in torch; of a state, where they were cut."""
    state = state_of([molecule("CH3OH")])
    with pytest.raises(UserError, match=message):
        TorchSimModel(charged_network, compute_stress=False, **electrons)(state)
    vars(state)["_system_extras"] = {
        name: torch.tensor([float(value)]) for name, value in electrons.items()
    }
    with pytest.raises(UserError, match=message):
        TorchSimModel(charged_network, compute_stress=False)(state)


def test_forces_that_are_no_numbers_are_refused(damaged):
    with pytest.raises(UserError, match="the model gives no finite forces for this geometry"):
        TorchSimModel(damaged, compute_stress=False)(state_of([molecule("CH3OH")]))


def test_their_optimizer_relaxes_to_the_calculators_minimum(network):
    """Two molecules together, on a network that has a minimum near by or not: energies fall."""
    molecules = [molecule("CH3OH"), molecule("NH3")]
    model = TorchSimModel(network, compute_stress=False)
    start = model(state_of(molecules))["energy"]
    final = torch_sim.optimize(
        molecules, model, optimizer=torch_sim.optimizers.fire, max_steps=5, steps_between_swaps=5
    )
    assert (final.energy < start).all()
    for k, atoms in enumerate(final.to_atoms()):
        atoms.calc = Calculator(network)
        assert float(final.energy[k]) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
