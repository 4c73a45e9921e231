"""The spread of a model's errors: its symmetry, and that the rest of the model is what it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.spatial.transform import Rotation

from molequi.errors import UserError
from molequi.models.checkpoint import load_model, save_model
from molequi.models.making import make_model
from molequi.prediction.predict import predict
from molequi.simulation.calculator import Calculator
from molequi.structures.atoms import graph_from_atoms

SPREADS = ("forces_std", "energy_std")
SMALL = {"n_layers": 1, "n_channels": 4, "l_max": 1, "cutoff": 4.0}


@pytest.fixture(scope="module")
def model():
    """In double precision, calibrated by hand."""
    made = make_model((1, 6, 8), ["energy", "forces", *SPREADS], **SMALL).double()
    for name in SPREADS:
        head = made.heads[name]
        head.reset(has_labels=True)
        head.set_calibration(1.7, 0.8, torch.tensor([0.6, 1.0, 1.9, 2.5]))
    return made.requires_grad_(False)


def test_asking_for_spreads_changes_no_other_weight():
    with_spreads = make_model((1, 6, 8), [*SPREADS, "energy", "forces", "dipole"], **SMALL)
    without = make_model((1, 6, 8), ["energy", "forces", "dipole"], **SMALL)
    expected = without.state_dict()
    found = with_spreads.state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert {name.split(".")[1] for name in set(found) - set(expected)} == set(SPREADS)


def test_spreads_turn_with_nothing_and_follow_their_atoms(model):
    atoms = molecule("CH3CH2OH")
    values = model(graph_from_atoms(atoms, model.cutoff))
    assert values["forces_std"].shape == (9,)
    assert values["energy_std"].shape == (1,)
    assert all((values[name] > 0).all() for name in SPREADS)
    order = np.random.default_rng(0).permutation(9)
    moved = atoms[order]
    moved.positions = moved.positions @ Rotation.random(random_state=1).as_matrix() * [1, 1, -1]
    found = model(graph_from_atoms(moved, model.cutoff))
    np.testing.assert_allclose(found["forces_std"], values["forces_std"][order], rtol=1e-9)
    assert float(found["energy_std"]) == pytest.approx(float(values["energy_std"]), rel=1e-9)


def test_value_is_that_of_the_formula(model):
    """sigma^2 = (factor scale (s / scale)^power)^2 + labels^2, from what training sees."""
    graph = graph_from_atoms(molecule("H2O"), model.cutoff)
    head = model.heads["forces_std"]
    head.set_statistics(2.5)
    try:
        spread = model(graph)["forces_std"]
        head.train()
        own, labels = model(graph)["forces_std[log]"].exp().unbind(dim=1)
    finally:
        head.eval()
        head.set_statistics(1.0)
    expected = ((1.7 * 2.5 * (own / 2.5) ** 0.8).square() + labels.square()).sqrt()
    torch.testing.assert_close(spread, expected, rtol=1e-6, atol=0.0)


def test_far_molecules_have_the_spreads_that_they_have_alone(model):
    """And together the root of the sum of the squares, for the energy before its power law."""
    pair = molecule("H2O")
    other = molecule("CH4")
    other.positions += [30.0, 0.0, 0.0]
    alone = [model(graph_from_atoms(atoms, model.cutoff)) for atoms in (pair, other)]
    found = model(graph_from_atoms(pair + other, model.cutoff))
    expected = torch.cat([values["forces_std"] for values in alone])
    torch.testing.assert_close(found["forces_std"], expected)
    assert float(found["energy_std"]) > max(float(values["energy_std"]) for values in alone)


def test_file_keeps_the_calibration(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    graph = graph_from_atoms(molecule("H2O"), model.cutoff)
    for name in SPREADS:
        assert torch.equal(again(graph)[name], model(graph)[name])
        assert torch.equal(again.heads[name].quantiles, model.heads[name].quantiles)


def test_spread_of_what_is_not_asked_for_is_refused():
    with pytest.raises(UserError, match="energy_std is the spread of energy: ask for both"):
        make_model((1, 6, 8), ["dipole", "energy_std"], **SMALL)


def test_predictions_and_calculators_give_them(model, tmp_path):
    import ase.io

    atoms = molecule("H2O")
    frozen = model.freeze()
    expected = model(graph_from_atoms(atoms, model.cutoff))
    (record,) = predict(atoms, frozen, output=tmp_path / "out.xyz")
    spread = expected["forces_std"].numpy()
    np.testing.assert_allclose(record["forces_std"], spread)
    assert record["max_forces_std"] == pytest.approx(spread.max())
    assert record["energy_std"] == pytest.approx(float(expected["energy_std"]))
    written = ase.io.read(tmp_path / "out.xyz")
    np.testing.assert_allclose(written.arrays["molequi_forces_std"], spread, atol=1e-7)
    assert written.info["molequi_energy_std"] == pytest.approx(record["energy_std"])
    predict(atoms, frozen, output=tmp_path / "out.csv")
    heading = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "max_forces_std [eV/Å]" in heading
    assert "energy_std [eV]" in heading
    atoms.calc = Calculator(frozen)
    atoms.get_forces()
    np.testing.assert_allclose(atoms.calc.predictions["forces_std"], spread)
    np.testing.assert_allclose(atoms.calc.get_property("forces_std", atoms), spread)
    ase.io.write(tmp_path / "ase.xyz", atoms)
    ase.io.write(tmp_path / "ase.traj", atoms)
    assert len(ase.io.read(tmp_path / "ase.traj").get_forces()) == 3


def test_ase_takes_the_results_of_a_model_with_spreads(model):
    """ASE stops at names that it does not know."""
    atoms = molecule("H2O")
    atoms.calc = calculator = Calculator(model)
    forces, spread = atoms.get_forces(), calculator.predictions["forces_std"].copy()
    np.testing.assert_allclose(atoms.get_properties(["energy", "forces"])["forces"], forces)
    np.testing.assert_allclose(calculator.export_properties()["forces"], forces)
    np.testing.assert_allclose(
        SinglePointCalculator(atoms, **calculator.results).get_forces(), forces
    )
    assert not set(SPREADS) & {*calculator.results, *calculator.implemented_properties}
    calculator.get_property("forces_std")[:] = 0.0
    np.testing.assert_array_equal(calculator.get_property("forces_std", atoms), spread)
    moved = atoms.copy()
    moved.positions[0, 2] += 0.1
    assert calculator.get_property("forces_std", moved, allow_calculation=False) is None
    assert np.abs(calculator.get_property("forces_std", moved) - spread).max() > 0
    with pytest.raises(PropertyNotImplementedError, match="it gives energy.*energy_std"):
        calculator.get_property("dipole_std")
