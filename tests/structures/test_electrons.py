"""Charge and spin: every place that states them, and what follows when two disagree."""

from __future__ import annotations

import ase
import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule

from molequi.errors import UserError
from molequi.structures.atoms import (
    charge_of,
    electron_labels,
    multiplicity_of,
    settle_electrons,
    stated_charge,
    stated_multiplicity,
)
from molequi.structures.electrons import whole_number


@pytest.mark.parametrize(
    "key",
    ["charge", "Charge", "total_charge", "TotalCharge", "net_charge", "net-charge", "chrg", "q"],
)
@pytest.mark.parametrize("value", [-2, -2.0, "-2", "2-", np.array([-2]), np.float32(-2.01)])
def test_keys_that_are_a_charge(key: str, value: object) -> None:
    water = molecule("H2O")
    water.info[key] = value
    assert charge_of(water) == -2
    assert stated_charge(water).source.startswith(f"{key}=")


@pytest.mark.parametrize(
    ("key", "value", "multiplicity"),
    [
        ("spin_multiplicity", 3, 3),
        ("multiplicity", 3, 3),
        ("mult", "3", 3),
        ("spin", 3, 3),
        ("spin", 0, 1),
        ("total_spin", 3, 3),
        ("uhf", 2, 3),
        ("uhf", 0, 1),
        ("n_unpaired", 2, 3),
    ],
)
def test_keys_that_are_a_multiplicity(key: str, value: object, multiplicity: int) -> None:
    water = molecule("H2O")
    water.info[key] = value
    assert multiplicity_of(water, 0) == multiplicity
    assert stated_multiplicity(water, 0).source == f"{key}={value}"


def test_a_spin_of_a_half_is_s() -> None:
    methyl = ase.Atoms("CH3", np.eye(4, 3))
    methyl.info["spin"] = 0.5
    assert multiplicity_of(methyl, 0) == 2
    methyl.info["spin"] = 1
    with pytest.raises(UserError, match="multiplicity 1 does not go with the 9 electrons"):
        multiplicity_of(methyl, 0)


@pytest.mark.parametrize(("charge", "most"), [(0, 11), (9, 2), (10, 1)])
def test_no_more_electrons_are_unpaired_than_there_are(charge: int, most: int) -> None:
    water = molecule("H2O")
    water.info["multiplicity"] = most
    assert multiplicity_of(water, charge) == most
    water.info["multiplicity"] = most + 2
    with pytest.raises(UserError, match=f"{most + 2} does not go with the {10 - charge} electrons"):
        multiplicity_of(water, charge)


@pytest.mark.parametrize("key", ["charge", "total_charge", "spin", "multiplicity", "uhf"])
def test_a_word_without_a_value_is_none(key: str) -> None:
    water = molecule("H2O")
    water.info[key] = True
    assert (charge_of(water), multiplicity_of(water, 0)) == (0, 1)
    assert stated_charge(water).source == "assumed, as nothing states a charge"


def test_what_is_no_charge_under_such_a_key() -> None:
    water = molecule("H2O")
    water.info.update(q=0.37, charges=[1, 2, 3], Q=np.arange(3.0))
    assert charge_of(water) == 0
    water.info["charge"] = 0.37
    with pytest.raises(UserError, match=r"charge 0\.37 \(charge\) is not a whole number"):
        charge_of(water)


def test_magnetic_moments_of_a_molecule_and_of_a_crystal() -> None:
    oxygen = molecule("O2")
    assert oxygen.get_initial_magnetic_moments().tolist() == [1.0, 1.0]
    assert stated_multiplicity(oxygen, 0) == (3, "the initial magnetic moments")
    oxygen.info["multiplicity"] = 1
    with pytest.raises(UserError, match=r"multiplicity=1 says 1, the initial magnetic moments"):
        multiplicity_of(oxygen, 0)
    oxygen.info.clear()
    assert multiplicity_of(oxygen, 1) == 2  # a guess for the neutral molecule
    oxygen.set_initial_magnetic_moments([1.0, -1.0])
    assert multiplicity_of(oxygen, 0) == 1
    oxygen.set_initial_magnetic_moments([1.0, 0.4])
    with pytest.raises(UserError, match=r"the sum 1\.400 of the initial magnetic moments is not"):
        multiplicity_of(oxygen, 0)
    iron = bulk("Fe")
    iron.set_initial_magnetic_moments([2.3])
    assert multiplicity_of(iron, 0) == 1


def test_two_keys_that_disagree() -> None:
    water = molecule("H2O")
    water.info.update(charge=-1, total_charge=0)
    with pytest.raises(UserError, match=r"charge=-1 says -1, total_charge=0 says 0; remove one"):
        charge_of(water)
    assert charge_of(water, 1) == 1
    water.info.update(spin=3, uhf=0)
    with pytest.raises(UserError, match="disagree about the multiplicity"):
        multiplicity_of(water, 0)


def test_settled_atoms_say_it_once() -> None:
    ion = ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]], charges=[-1, 0])
    ion.info.update(net_charge=-1, uhf=0, formal_charge=-1)
    settle_electrons(ion)
    assert ion.info == {
        "charge": -1,
        "charge_source": "net_charge=-1",
        "spin_multiplicity": 1,
        "multiplicity_source": "uhf=0",
    }
    assert stated_charge(ion) == (-1, "net_charge=-1")
    assert ion.get_initial_charges().tolist() == [-1.0, 0.0]
    settle_electrons(ion, 1)
    assert stated_charge(ion) == (1, "the option charge")
    assert not ion.has("initial_charges")


def test_labels_of_what_a_calculator_used() -> None:
    water = molecule("H2O")
    water.info["charge"] = 1
    assert electron_labels(water, 1, 2) == {
        "total_charge": 1,
        "spin_multiplicity": 2,
        "charge_source": "charge=1",
        "multiplicity_source": "assumed, the lowest for an odd number of electrons",
    }
    assert electron_labels(water, -1, 2)["charge_source"] == "set in the calculator"


@pytest.mark.parametrize("name", ["a.xyz", "a.traj", "a.db", "a.json"])
def test_every_container_of_ase_keeps_charge_and_spin(name: str, tmp_path) -> None:
    from molequi.structures.readers import read_structures

    atoms = ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]], charges=[-1, 0])
    ase.io.write(tmp_path / name, atoms)
    ((_, found),) = read_structures(tmp_path / name)
    assert (found.info["charge"], found.info["spin_multiplicity"]) == (-1, 1)
    assert found.info["charge_source"] == "the sum of the initial charges"
    triplet = ase.Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], magmoms=[1, 1])
    ase.io.write(tmp_path / f"b{name}", triplet)
    ((_, found),) = read_structures(tmp_path / f"b{name}")
    assert found.info["spin_multiplicity"] == 3


def test_key_value_pairs_of_a_database(tmp_path) -> None:
    from molequi.structures.readers import read_structures

    with ase.db.connect(tmp_path / "a.db") as database:
        database.write(molecule("H2O"), key_value_pairs={"total_charge": 1})
        database.write(molecule("H2O"), data={"spin": 3})
    cation, triplet = (found for _, found in read_structures(tmp_path / "a.db"))
    assert (cation.info["charge"], cation.info["charge_source"]) == (1, "total_charge=1")
    assert triplet.info["spin_multiplicity"] == 3


@pytest.mark.parametrize("text", ["x", "1.5", "nan", "", "2+-"])
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(UserError, match="the thing is not a"):
        whole_number(text, "the thing")


@pytest.mark.parametrize("value", [10**400, "7" * 400, 1e300, 10**18, float("inf"), 1_000_001])
@pytest.mark.parametrize("key", ["charge", "spin", "uhf"])
def test_numbers_beyond_all_charges(key: str, value: object) -> None:
    water = molecule("H2O")
    water.info[key] = value
    with pytest.raises(UserError, match=rf"\({key}\) is beyond 1,000,000|^.{{80}} is beyond"):
        settle_electrons(water)


@pytest.mark.parametrize("value", [1 + 2j, np.complex128(0.5), None])
def test_what_is_no_number_is_no_spin(value: object) -> None:
    water = molecule("H2O")
    water.info["spin"] = value
    with pytest.raises(UserError, match="is not a number"):
        settle_electrons(water)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308])
def test_charges_and_moments_that_have_no_sum(value: float) -> None:
    water = molecule("H2O")
    water.set_initial_charges([value, value, 0.0])
    with pytest.raises(UserError, match="the initial charges add up to"):
        settle_electrons(water)
    water.set_initial_charges([0.0, 0.0, 0.0])
    water.set_initial_magnetic_moments([value, value, 0.0])
    with pytest.raises(UserError, match="of the initial magnetic moments is"):
        settle_electrons(water)


def test_a_charge_takes_no_more_electrons_than_there_are() -> None:
    assert multiplicity_of(ase.Atoms("H"), 1) == 1
    with pytest.raises(UserError, match="charge 2 does not go with H, which has 1 electrons when"):
        multiplicity_of(ase.Atoms("H"), 2)
    with pytest.raises(UserError, match="is beyond 1,000,000"):
        charge_of(ase.Atoms("H"), -(10**30))
