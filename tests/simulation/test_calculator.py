"""The ASE calculator: values against the model, refusals, and independence of calculators."""

import copy
import pickle
import sys
import threading

import ase.calculators.calculator
import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from molequi.errors import NotFiniteError, UserError
from molequi.properties import DEBYE
from molequi.simulation.calculator import Calculator
from molequi.structures.atoms import graph_from_atoms


@pytest.fixture
def water(morse):
    atoms = molecule("H2O")
    atoms.calc = Calculator(morse())
    return atoms


def ice(pbc=(True, True, True)):
    atoms = molecule("H2O")
    atoms.set_cell([[5.0, 0, 0], [1.0, 4.6, 0], [0.3, -0.4, 4.8]])
    atoms.pbc = pbc
    return atoms


def test_values_are_those_of_the_model(charged_network):
    atoms = molecule("CH3CH2OH")
    atoms.calc = Calculator(charged_network)
    expected = charged_network.compute(graph_from_atoms(atoms, charged_network.cutoff))
    assert atoms.get_potential_energy() == pytest.approx(float(expected["energy"]), abs=1e-12)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), expected["forces"], atol=1e-12)
    np.testing.assert_allclose(atoms.get_dipole_moment(), expected["dipole"][0], atol=1e-12)
    np.testing.assert_allclose(atoms.get_charges(), expected["charges"], atol=1e-12)
    np.testing.assert_allclose(
        atoms.get_potential_energies().sum(), atoms.get_potential_energy(), atol=1e-9
    )
    assert atoms.calc.predictions["dipole_magnitude"] == pytest.approx(
        np.linalg.norm(atoms.get_dipole_moment()) / DEBYE
    )


def test_forces_and_stress_are_derivatives(water, morse):
    np.testing.assert_allclose(
        water.get_forces(), calculate_numerical_forces(water, eps=1e-4), atol=1e-6
    )
    crystal = ice()
    crystal.calc = Calculator(morse())
    np.testing.assert_allclose(
        crystal.get_stress(), calculate_numerical_stress(crystal, eps=1e-5), atol=1e-7
    )


def test_compressed_crystal_pushes_outwards(morse):
    """The sign: negative stress is pressure, as in ASE."""
    crystal = bulk("C", a=2.2)
    crystal.calc = Calculator(morse())
    assert crystal.get_stress()[:3].max() < 0


@pytest.mark.parametrize("pbc", [(False, False, False), (True, True, False), (True, False, False)])
def test_no_stress_unless_fully_periodic(morse, pbc):
    atoms = ice(pbc)
    atoms.calc = Calculator(morse())
    with pytest.raises(PropertyNotImplementedError, match="stress needs a fully periodic cell"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())


def test_a_slab_relaxes_in_its_plane_the_way_that_the_refusal_says(morse):
    """A square layer of Morse carbons, squeezed and sheared."""
    cell = [[1.5, 0.1, 0.0], [0.0, 1.7, 0.0], [0.0, 0.0, 30.0]]
    slab = Atoms("C", cell=cell, pbc=(True, True, False), calculator=Calculator(morse()))
    with pytest.raises(PropertyNotImplementedError, match=r"mask=\[1, 1, 0, 0, 0, 1\]"):
        slab.get_stress()
    whole = slab.copy()
    whole.pbc, whole.calc = True, Calculator(morse())
    assert whole.get_potential_energy() == pytest.approx(slab.get_potential_energy(), abs=1e-10)
    before = np.abs(whole.get_stress()[[0, 1, 5]]).max()
    with LBFGS(FrechetCellFilter(whole, mask=[1, 1, 0, 0, 0, 1]), logfile=None) as optimizer:
        assert optimizer.run(fmax=0.01, steps=100)
    assert np.abs(whole.get_stress()[[0, 1, 5]]).max() < 0.05 * before
    np.testing.assert_allclose(whole.cell[2], [0, 0, 30.0], atol=1e-12)


def test_what_is_set_later_is_used_or_refused(morse):
    atoms = molecule("H2O")
    atoms.calc = calculator = Calculator(morse(), charge=0)
    energy = atoms.get_potential_energy()
    with pytest.raises(UserError, match="cannot change its dtype"):
        calculator.set(dtype="float32")
    assert calculator.set(charge=1) == {"charge": 1}
    with pytest.raises(UserError, match=r"charge \[1\]"):
        atoms.get_potential_energy()
    calculator.unsafe = True
    assert atoms.get_potential_energy() == pytest.approx(energy)
    assert "charge [1]" in calculator.unsafe_reason
    calculator.set(charge=0)
    assert atoms.get_potential_energy() == pytest.approx(energy)
    assert calculator.unsafe_reason is None


def test_parameters_say_what_it_was_made_with(network):
    calculator = Calculator(network, charge=0, skin=0.3, kernels="reference")
    calculator.charge = None
    assert calculator.todict() == calculator.parameters
    assert calculator.parameters == {
        "model": network.metadata.name,
        "device": "cpu",
        "dtype": "float64",
        "charge": None,
        "spin_multiplicity": None,
        "skin": 0.3,
        "kernels": "reference",
        "unsafe": False,
    }


def test_hessian_is_the_slope_of_the_forces(water):
    hessian, step = water.calc.get_hessian(water), 1e-4
    for column in (0, 4, 8):
        moved = []
        for sign in (1, -1):
            atoms = water.copy()
            atoms.calc = water.calc
            atoms.positions[column // 3, column % 3] += sign * step
            moved.append(atoms.get_forces().ravel())
        slope = (moved[1] - moved[0]) / (2 * step)
        np.testing.assert_allclose(hessian[:, column], slope, atol=1e-5)
    with pytest.raises(UserError, match="element Cl"):
        water.calc.get_hessian(molecule("HCl"))


@pytest.mark.parametrize("n_calls", [25, pytest.param(500, marks=pytest.mark.long)])
def test_threads_may_share_a_calculator(network, n_calls):
    """Their calls got into each other: other molecules' forces, and errors of shapes."""
    shared, fresh = Calculator(network, kernels="reference"), Calculator(network)
    structures = [molecule(name) for name in ("H2O", "CH4", "CH3OH", "C2H2")]
    expected = [fresh.get_property("forces", atoms) for atoms in structures]
    errors: list[float] = []

    def work(first: int) -> None:
        for k in range(n_calls):
            place = (first + k) % 4
            forces = shared.get_property("forces", structures[place])
            same = forces.shape == expected[place].shape
            errors.append(np.abs(forces - expected[place]).max() if same else np.inf)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(errors) == 4 * n_calls
    assert max(errors) < 1e-10


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_compute_the_same_and_alone(water, duplicate):
    energy = water.get_potential_energy()
    atoms = duplicate(water)
    atoms.positions[0, 0] += 0.1
    assert atoms.get_potential_energy() != energy
    assert water.calc.check_state(water) == []
    atoms.positions[:] = water.positions
    assert atoms.get_potential_energy() == energy


def test_a_shallow_copy_is_a_calculator_of_its_own(network):
    """It shared parameters, the kept structure and the neighbour list."""
    first = Calculator(network)
    energies = [first.get_property("energy", molecule(name)) for name in ("CH3OH", "H2O")]
    second = copy.copy(first)
    second.charge = -2
    assert first.charge is None
    second.charge = None
    second.get_property("energy", molecule("H2O"))
    moved = molecule("H2O")
    moved.positions[0, 0] += 0.1
    assert second.get_property("energy", moved) != energies[1]
    assert first.get_property("energy", molecule("H2O")) == energies[1]
    assert first.get_property("energy", moved) == second.get_property("energy", moved)
    assert first._skin is not second._skin


def test_the_kept_structure_says_what_the_last_one_said(network):
    """It kept the charges of the first of its atoms, and `calculate` took them."""
    calculator = Calculator(network, unsafe=True)
    atoms = molecule("H2O")
    calculator.get_property("energy", atoms)
    atoms.info["charge"] = 2
    atoms.set_initial_magnetic_moments([0.0, 0.0, 0.0])
    calculator.get_property("energy", atoms)
    assert calculator.atoms.info == {"charge": 2}
    assert "initial_magmoms" in calculator.atoms.arrays
    calculator.calculate()
    assert calculator.electrons(calculator.atoms).charge == 2
    assert calculator.check_state(atoms) == []


def test_labels_say_the_electrons_that_were_used(network):
    atoms = molecule("H2O")
    atoms.info["spin_multiplicity"] = 1
    labels = Calculator(network, charge=2, spin_multiplicity=3, unsafe=True).labels(atoms)
    assert (labels["total_charge"], labels["spin_multiplicity"]) == (2, 3)
    assert labels["multiplicity_source"] == "set in the calculator"


def test_no_dipole_where_periodic(morse):
    atoms = ice((False, True, False))
    atoms.calc = Calculator(morse())
    with pytest.raises(PropertyNotImplementedError, match="periodic structure has no dipole"):
        atoms.get_dipole_moment()
    assert "dipole" not in atoms.calc.results
    assert atoms.get_charges().shape == (3,)


def test_property_that_the_model_lacks_is_named(morse):
    atoms = molecule("H2O")
    atoms.calc = Calculator(morse(outputs=("dipole", "charges")))
    assert atoms.get_dipole_moment().shape == (3,)
    with pytest.raises(PropertyNotImplementedError, match="no energy; it gives dipole, charges"):
        atoms.get_potential_energy()


def test_charges_that_no_label_has_shaped_are_refused(network):
    atoms = molecule("H2O")
    atoms.calc = Calculator(network)
    assert atoms.get_dipole_moment().shape == (3,)
    assert "charges" not in {*atoms.calc.results, *atoms.calc.predictions}
    with pytest.raises(PropertyNotImplementedError, match="none were among its labels, .* dipole"):
        atoms.get_charges()


def test_what_is_no_model_is_refused(network):
    for given, name in ((None, "NoneType"), (Calculator(network), "Calculator"), (5, "int")):
        with pytest.raises(UserError, match=f"the model is a {name}; give a bundled name"):
            Calculator(given)


def test_no_atoms_have_no_energy(morse):
    with pytest.raises(UserError, match="the structure has no atoms"):
        Atoms(calculator=Calculator(morse())).get_potential_energy()


def test_yes_is_no_charge(morse):
    atoms = molecule("H2O")
    atoms.calc = Calculator(morse(), charge=True)
    with pytest.raises(UserError, match="charge True is no number"):
        atoms.get_potential_energy()


def test_unknown_element_is_refused_by_name(morse):
    atoms = molecule("CH3Cl")
    atoms.calc = Calculator(morse())
    with pytest.raises(
        UserError, match=r"element Cl \(atom 1\) is not in this model; it knows H C N O"
    ):
        atoms.get_potential_energy()


@pytest.mark.parametrize("mark", ["info charge", "info total_charge", "initial charges", "option"])
def test_charge_is_found_and_refused(morse, mark):
    atoms = molecule("H2O")
    option = None
    if mark == "option":
        option = -2
    elif mark == "initial charges":
        atoms.set_initial_charges([-2.0, 0.0, 0.0])
    else:
        atoms.info[mark.split()[1]] = -2
    atoms.calc = Calculator(morse(), charge=option)
    with pytest.raises(UserError, match="charge"):
        atoms.get_potential_energy()


def test_option_overrides_what_the_structure_says(morse):
    atoms = molecule("H2O")
    atoms.info["charge"] = 2
    atoms.calc = Calculator(morse(), charge=0)
    assert np.isfinite(atoms.get_potential_energy())


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_multiplicity_that_the_electrons_forbid_is_refused(morse, unsafe):
    """A radical was computed as a closed shell, without a word."""
    radical = molecule("OH")
    radical.calc = Calculator(morse(), spin_multiplicity=1, unsafe=unsafe)
    with pytest.raises(UserError, match="multiplicity 1 does not go with the 9 electrons of HO"):
        radical.get_potential_energy()
    radical.calc = Calculator(morse(), charge=10, unsafe=unsafe)
    with pytest.raises(UserError, match="9 electrons when neutral"):
        radical.get_potential_energy()
    water = molecule("H2O")
    water.calc = Calculator(morse(), spin_multiplicity="1")
    assert water.calc.electrons(water) == (0, 1)
    assert np.isfinite(water.get_potential_energy())


def test_charge_written_later_is_seen(water):
    water.get_potential_energy()
    water.info["charge"] = 2
    with pytest.raises(UserError, match="charge"):
        water.get_potential_energy()


def test_unsafe_computes_and_says_so(morse):
    atoms = molecule("H2O")
    atoms.info["charge"] = 2
    calculator = atoms.calc = Calculator(morse(), unsafe=True)
    assert np.isfinite(atoms.get_potential_energy())
    assert "charge" in calculator.unsafe_reason
    assert atoms.get_charges().sum() == pytest.approx(2.0)
    atoms.info["charge"] = 0
    atoms.get_potential_energy()
    assert calculator.unsafe_reason is None


def test_unknown_elements_are_refused_whatever_is_allowed(network):
    atoms = molecule("CH3Cl")
    atoms.calc = Calculator(network, unsafe=True)
    with pytest.raises(UserError, match=r"element Cl \(atom 1\) is not in this model"):
        atoms.get_potential_energy()


def test_what_is_done_to_predictions_changes_no_result(water):
    expected = {"forces": water.get_forces(), "dipole": water.get_dipole_moment()}
    for name in expected:
        water.calc.predictions[name][:] = 7.0
    np.testing.assert_array_equal(water.get_forces(), expected["forces"])
    np.testing.assert_array_equal(water.get_dipole_moment(), expected["dipole"])


def test_results_are_kept_until_something_changes(water):
    calculator, calls = water.calc, []
    compute = calculator.model.compute
    calculator.model.compute = lambda *args, **kwargs: calls.append(1) or compute(*args, **kwargs)
    water.get_forces(), water.get_potential_energy(), water.get_dipole_moment()
    assert len(calls) == 1
    water.positions[0, 0] += 1e-12
    water.get_forces()
    assert len(calls) == 2
    water.numbers[0] = 6
    water.get_forces()
    assert len(calls) == 3
    water.set_cell([9.0, 9.0, 9.0])
    water.pbc = True
    water.get_stress()
    assert len(calls) == 4


def test_an_energy_that_is_no_number_is_refused(morse):
    """It was given to ASE like any other; afterwards the calculator is as good as before."""
    atoms = molecule("H2O")
    calculator = atoms.calc = Calculator(morse())
    energy, compute = atoms.get_potential_energy(), calculator.model.compute
    calculator.model.compute = lambda graph, **options: {
        name: value * np.nan for name, value in compute(graph, **options).items()
    }
    moved = atoms.copy()
    moved.positions[0, 0] += 0.1
    with pytest.raises(NotFiniteError, match="no finite energy for this geometry"):
        calculator.get_property("energy", moved)
    with pytest.raises(NotFiniteError, match="no finite energy for this geometry"):
        calculator.get_property("energy", moved)
    calculator.model.compute = compute
    assert atoms.get_potential_energy() == energy


def test_returned_arrays_are_the_callers_own(water):
    forces = water.get_forces()
    forces[:] = 0.0
    assert np.abs(water.get_forces()).max() > 0


def test_input_is_not_changed(water):
    before = water.copy()
    water.get_forces()
    assert water == before
    assert water.info == before.info


def test_moving_atoms_follow_a_fresh_calculator(network):
    rng = np.random.default_rng(0)
    atoms = molecule("C6H6")
    atoms.calc = Calculator(network)
    for _ in range(6):
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        fresh = atoms.copy()
        fresh.calc = Calculator(network, skin=0.0)
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), atol=1e-10)


def test_asked_for_dtype_does_not_touch_the_given_model(network):
    calculator = Calculator(network, dtype="float32")
    assert calculator.model.dtype == torch.float32
    assert network.dtype == torch.float64
    atoms = molecule("H2O")
    atoms.calc = calculator
    assert atoms.get_forces().dtype == np.float64


def test_class_of_ase_stays_as_it_is(morse):
    base = ase.calculators.calculator
    before = (
        {name: id(value) for name, value in vars(base.Calculator).items()},
        list(base.all_properties),
        list(base.all_changes),
    )
    atoms = molecule("H2O")
    atoms.calc = Calculator(morse())
    atoms.get_forces()
    assert before == (
        {name: id(value) for name, value in vars(base.Calculator).items()},
        list(base.all_properties),
        list(base.all_changes),
    )
    assert base.Calculator.implemented_properties == []


def test_two_calculators_do_not_disturb_each_other(morse, network):
    one, two = molecule("H2O"), molecule("H2O")
    one.calc, two.calc = Calculator(morse(outputs=("energy",))), Calculator(network)
    alone = one.get_potential_energy(), two.get_potential_energy()
    two.positions *= 1.1
    two.get_forces()
    assert one.get_potential_energy() == alone[0]
    assert "dipole" in two.calc.implemented_properties
    assert "dipole" not in one.calc.implemented_properties


def test_two_threads_give_what_one_gives(network):
    """Both the model and the ASE machinery are shared; each thread has its calculator."""

    def walk(seed, results):
        rng = np.random.default_rng(seed)
        atoms = molecule("CH3OH" if seed else "NH3")
        atoms.calc = Calculator(network)
        for _ in range(15):
            atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
            results.append(atoms.get_forces())

    alone, together = ([], []), ([], [])
    for seed in (0, 1):
        walk(seed, alone[seed])
    threads = [threading.Thread(target=walk, args=(seed, together[seed])) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in (0, 1):
        assert len(together[seed]) == 15
        np.testing.assert_allclose(np.array(together[seed]), np.array(alone[seed]), atol=1e-12)


def test_single_atom_and_atoms_out_of_reach(morse):
    for atoms in (Atoms("O"), Atoms("OO", positions=[[0, 0, 0], [20.0, 0, 0]])):
        atoms.calc = Calculator(morse())
        assert np.isfinite(atoms.get_potential_energy())
        np.testing.assert_array_equal(atoms.get_forces(), 0.0)


def test_ase_can_store_and_copy_it(network, tmp_path):
    """What ASE's writers and databases ask of a calculator."""
    atoms = ice()
    atoms.calc = Calculator(network)
    energy, stress = atoms.get_potential_energy(), atoms.get_stress()
    for name in ("a.traj", "a.xyz", "a.db"):
        ase.io.write(tmp_path / name, atoms)
        back = ase.io.read(tmp_path / name)
        assert back.get_potential_energy() == pytest.approx(energy, abs=1e-8)
        np.testing.assert_allclose(back.get_stress(), stress, atol=1e-8)
    twin = copy.deepcopy(atoms)
    twin.positions *= 1.01
    assert twin.get_potential_energy() != energy
    assert atoms.get_potential_energy() == energy


def test_cell_relaxes_by_its_stress(morse):
    """A diamond of Morse carbons, squeezed and sheared, goes back to where no stress is left."""
    crystal = bulk("C", a=2.6)
    crystal.set_cell(
        crystal.cell.array @ (np.eye(3) + 0.03 * np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])),
        scale_atoms=True,
    )
    crystal.calc = Calculator(morse())
    with LBFGS(FrechetCellFilter(crystal), logfile=None) as optimizer:
        assert optimizer.run(fmax=0.01, steps=100)
    assert np.abs(crystal.get_stress()).max() < 1e-2
    fresh = crystal.copy()
    fresh.calc = Calculator(morse(), skin=0.0)
    np.testing.assert_allclose(crystal.get_forces(), fresh.get_forces(), atol=1e-9)


def test_molecule_in_a_cell_without_pbc_is_a_molecule(network):
    """A cell alone makes nothing periodic: neither the dipole goes nor does a stress come."""
    boxed, free = molecule("H2O", vacuum=4.0), molecule("H2O")
    boxed.calc, free.calc = Calculator(network), Calculator(network)
    assert boxed.get_potential_energy() == pytest.approx(free.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(boxed.get_dipole_moment(), free.get_dipole_moment(), atol=1e-10)
    with pytest.raises(PropertyNotImplementedError):
        boxed.get_stress()
