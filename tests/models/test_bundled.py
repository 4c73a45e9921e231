"""What the bundled models of 14 elements must be good for, whatever their last digits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.data import chemical_symbols

from molequi.errors import UnknownElementError, UserError
from molequi.models.freeze import FrozenModel
from molequi.models.zoo import card, list_models, load, resolve_model
from molequi.prediction.energies import ModelEnergies
from molequi.prediction.predict import predict
from molequi.prediction.suite_places import read_suites
from molequi.prediction.suite_scores import evaluate_suite
from molequi.structures.atoms import charge_of, graph_from_atoms
from molequi.structures.molecules import atoms_from_smiles

ELEMENTS = "H B C N O F Si P S Cl As Se Br I".split()
COULOMB = units.Hartree * units.Bohr  # eV Å of two charges of 1 e
FAR = np.array([30.0, 0.0, 0.0])


@pytest.fixture(scope="module", params=[n for n in list_models() if n.startswith("organic")])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(name: str) -> FrozenModel:
    return load(name).freeze()


def compute(model: FrozenModel, atoms: Atoms) -> dict[str, np.ndarray]:
    graph = graph_from_atoms(atoms, model.cutoff)
    model.check_input(graph)
    return {key: value.numpy() for key, value in model.compute(graph).items()}


def ion(smiles: str) -> Atoms:
    return atoms_from_smiles(smiles, 0)


def apart(first: Atoms, second: Atoms) -> Atoms:
    """Two molecules, their middles 30 Å apart, as one structure."""
    both = Atoms(
        np.concatenate([first.numbers, second.numbers]),
        np.concatenate(
            [first.positions - first.positions.mean(0), second.positions - second.positions.mean(0)]
        ),
    )
    both.positions[len(first) :] += FAR
    both.info["charge"] = charge_of(first) + charge_of(second)
    return both


def test_the_card_and_the_file_say_the_same(name, model):
    told = card(name)
    assert [chemical_symbols[z] for z in model.elements] == ELEMENTS == told["elements"]
    assert told["level"] == model.metadata.level
    assert model.dtype == torch.float32
    assert {"energy", "charges", "dipole", "forces_std", "energy_std"} <= set(model.outputs)
    assert {"errors by element", "errors by size", "errors by charge", "limits"} <= set(told)
    assert set(told["errors by element"]) == set(ELEMENTS)
    assert resolve_model(name).stat().st_size < 8e6
    assert set(model.metadata.isolated_atom_energies) == set(ELEMENTS)


def test_only_what_was_trained_is_computed(model):
    known = {multiplicity for _, multiplicity in model.metadata.charge_multiplicity}
    assert known == {1}
    with pytest.raises(UnknownElementError, match="element Na .* it knows H B C N O F Si P S Cl"):
        compute(model, Atoms("NaCl", [[0, 0, 0], [0, 0, 2.4]]))
    oxygen = molecule("O2")
    oxygen.info["spin_multiplicity"] = 3
    with pytest.raises(UserError, match="charge 0 with spin multiplicity 3 is outside"):
        compute(model, oxygen)
    with pytest.raises(UserError, match="charge 0 with spin multiplicity 2 is outside"):
        compute(model, molecule("CH3"))
    naked = Atoms("Si", info={"charge": 6})
    with pytest.raises(UserError, match=r"charge \+6 with spin multiplicity 1 is outside"):
        compute(model, naked)


@pytest.mark.parametrize(
    ("smiles", "charge"), [("C[NH3+]", 1), ("CC(=O)[O-]", -1), ("C[NH2+]CC[NH3+]", 2), ("CSC", 0)]
)
def test_charges_add_up_to_that_of_the_ion(name, smiles, charge):
    (record,) = predict(smiles=smiles, model=name)
    assert record["total_charge"] == charge
    assert float(np.sum(record["charges"])) == pytest.approx(charge, abs=1e-5)
    assert ("dipole_origin" in record) == (charge != 0)
    assert record["max_forces_std"] > 0


def test_waters_dipole_points_to_the_hydrogens(model):
    """1.85 D in nature, S. A. Clough et al., J. Chem. Phys. 59 (1973) 2254."""
    atoms = molecule("H2O")
    dipole = compute(model, atoms)["dipole"][0] / units.Debye
    axis = atoms.positions[1:].mean(axis=0) - atoms.positions[0]
    assert float(dipole @ axis / np.linalg.norm(axis)) == pytest.approx(1.85, abs=0.2)


def test_far_ions_keep_their_charges_and_feel_coulombs_law_alone(model):
    ammonium, acetate = ion("[NH4+]"), ion("CC(=O)[O-]")
    pair = apart(ammonium, acetate)
    together, n = compute(model, pair), len(ammonium)
    charges = together["charges"]
    assert float(charges[:n].sum()) == pytest.approx(1.0, abs=0.02)
    assert float(charges[n:].sum()) == pytest.approx(-1.0, abs=0.02)
    alone = sum(float(compute(model, one)["energy"][0]) for one in (ammonium, acetate))
    distances = np.linalg.norm(pair.positions[:n, None] - pair.positions[None, n:], axis=-1)
    coulomb = COULOMB * float((np.outer(charges[:n], charges[n:]) / distances).sum())
    # What is left of the charge that no atom claims: 3 meV of 480.
    assert float(together["energy"][0]) - alone == pytest.approx(coulomb, abs=5e-3)


def test_a_neutral_molecule_far_from_an_ion_stays_neutral(model):
    ammonium, water = ion("[NH4+]"), molecule("H2O")
    charges = compute(model, apart(ammonium, water))["charges"]
    assert float(charges[len(ammonium) :].sum()) == pytest.approx(0.0, abs=0.02)


def test_the_water_dimer_is_bound_as_it_should_be(model):
    """-5.0 kcal/mol at the geometry of S22."""
    (suite,) = read_suites(["s22"])
    size = {label: len(atoms) for label, atoms in suite.systems.items()}
    dimer = next(r for r in suite.reactions if {size[s] for _, s in r.terms} == {3, 6})
    found = evaluate_suite(suite, ModelEnergies(model))["reactions"]
    energy = next(row["model"] for row in found if row["name"] == dimer.name)
    assert 4.5 < abs(energy) < 5.5
    assert np.sign(energy) == np.sign(dimer.kcal_mol)


@pytest.mark.slow
def test_dimers_of_s66(model):
    found = evaluate_suite(read_suites(["s66"])[0], ModelEnergies(model))
    assert found["refused"] == []
    assert found["mae"] < 1.2  # kcal/mol; GFN2-xTB 0.76


@pytest.mark.slow
def test_atoms_of_every_pair_of_elements_repel_at_short_range(model):
    """Compressed to half of a bond, two atoms are pushed apart."""
    for first, second in itertools.combinations_with_replacement(ELEMENTS, 2):
        pair = Atoms([first, second], [[0, 0, 0], [0, 0, 0.6]])
        graph = graph_from_atoms(pair, model.cutoff)
        forces = model.compute(graph)["forces"].numpy()
        assert forces[1, 2] > 0, f"{first}-{second}"
