"""Relaxation: known minima, kept cells, and what becomes of structures that do not get there."""

import csv
import itertools
import os
import signal

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms
from scipy.optimize import minimize_scalar

from molequi.errors import RunInterruptedError, UserError
from molequi.runtime.journal import journal_path
from molequi.simulation.calculator import Calculator
from molequi.simulation.relaxation import relax, relax_atoms


def test_diatomic_reaches_its_minimum(morse, tmp_path):
    atoms = Atoms("CO", positions=[[0, 0, 0], [1.4, 0, 0]])
    (record,) = relax(atoms, morse(), fmax=1e-4, output=tmp_path / "relaxed.xyz")
    assert record["converged"] is True
    assert record["fmax"] < 1e-4
    assert record["energy_change"] < -0.5
    back = ase.io.read(tmp_path / "relaxed.xyz")
    minimum = minimize_scalar(
        lambda r: 8.0 * ((1 - np.exp(-2.3 * (r - 1.16))) ** 2 - 1) * (1 - (r / 5.0) ** 2) ** 3,
        bracket=(1.0, 1.2),
    ).x
    assert back.get_distance(0, 1) == pytest.approx(minimum, abs=1e-5)
    np.testing.assert_allclose(back.positions, record["positions"], atol=1e-7)
    assert back.info["molequi_converged"]
    assert back.get_potential_energy() == pytest.approx(record["energy"])
    assert atoms.positions[1, 0] == 1.4


@pytest.mark.parametrize("optimizer", ["bfgs", "fire"])
def test_optimizers_agree(morse, optimizer):
    (record,) = relax(molecule("H2O"), morse(), fmax=1e-3, optimizer=optimizer)
    assert record["converged"]
    assert record["max_force"] < 1e-3
    assert record["energy"] == pytest.approx(
        relax(molecule("H2O"), morse(), fmax=1e-4)[0]["energy"], abs=1e-5
    )


def test_progress_counts_what_is_done_and_what_failed(morse):
    shown: list[tuple[int, int]] = []
    relax(
        [molecule("H2O"), Atoms("Cl"), Atoms("O")], morse(), fmax=1e-2,
        progress=lambda done, failed: shown.append((done, failed)),
    )  # fmt: skip
    assert shown == [(1, 0), (2, 1), (3, 1)]


def test_unconverged_structures_are_kept_and_marked(morse, tmp_path):
    records = relax(
        [molecule("H2O"), Atoms("O")], morse(), fmax=1e-6, steps=1, output=tmp_path / "relaxed.xyz"
    )
    assert [record["converged"] for record in records] == [False, True]
    assert records[0]["steps"] == 1
    assert records[0]["fmax"] > 1e-6
    assert [
        atoms.info["molequi_converged"] for atoms in ase.io.read(tmp_path / "relaxed.xyz", ":")
    ] == [False, True]


def test_failures_cost_only_themselves(morse, tmp_path):
    path = tmp_path / "in.xyz"
    ase.io.write(path, [molecule("CH3Cl"), molecule("H2O")])
    refused, good = relax(path, morse(), output=tmp_path / "out.csv")
    assert "element Cl" in refused["error"]
    assert good["converged"]
    with (tmp_path / "out.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["converged"] == "True"
    assert not any("positions" in column for column in rows[0])


def test_cell_and_held_atoms_are_kept(morse):
    atoms = molecule("H2O", cell=[5.0, 5.5, 6.0], pbc=True)
    atoms.set_constraint(FixAtoms([0]))
    atoms.calc = Calculator(morse())
    result = relax_atoms(atoms, fmax=1e-3)
    assert result.converged
    assert result.atoms.cell.lengths() == pytest.approx([5.0, 5.5, 6.0])
    np.testing.assert_array_equal(result.atoms.positions[0], atoms.positions[0])


def test_forces_that_are_not_finite_end_it(morse):
    model = morse()
    compute = model.compute
    model.compute = lambda graph, **options: {
        **compute(graph, **options),
        "forces": compute(graph)["forces"] * float("nan"),
    }
    (record,) = relax(molecule("H2O"), model)
    assert record["converged"] is False
    assert record["steps"] == 0


@pytest.mark.parametrize("n_good", [0, 2])
def test_a_calculator_without_finite_forces_ends_it(morse, n_good):
    """Those of the first geometry, or later ones."""
    model, n_calls = morse(), itertools.count()
    compute = model.compute

    def damaged(graph, **options):
        factor = 1.0 if next(n_calls) < n_good else np.nan
        found = compute(graph, **options)
        return {**found, "forces": found["forces"] * factor}

    model.compute = damaged
    atoms = molecule("H2O")
    atoms.calc = Calculator(model)
    result = relax_atoms(atoms, fmax=1e-6)
    assert not result.converged
    assert next(n_calls) == n_good + 1
    with pytest.raises(UserError, match="the model gives no finite forces for this geometry"):
        result.atoms.get_forces()


def test_unsafe_is_marked(morse, tmp_path):
    atoms = molecule("H2O")
    (record,) = relax(
        atoms, Calculator(morse(), unsafe=True), charge=2, output=tmp_path / "out.xyz"
    )
    assert "charge" in record["unsafe"]
    assert "charge" in ase.io.read(tmp_path / "out.xyz").info["molequi_unsafe"]


def test_the_charge_of_a_calculator_reaches_the_run(morse):
    """Its spin too: water with a charge of 1 has an unpaired electron, and neutral water none."""
    own = Calculator(morse(), charge=1, unsafe=True)
    (record,) = relax([molecule("H2O")], own, steps=1)
    assert (record["total_charge"], record["spin_multiplicity"]) == (1, 2)
    (record,) = relax([molecule("H2O")], Calculator(morse(), charge=0), steps=1)
    assert (record["total_charge"], record["spin_multiplicity"]) == (0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fmax": 0.0}, "fmax is 0"),
        ({"steps": -1}, "steps is -1"),
        ({"optimizer": "newton"}, "choose bfgs or fire"),
    ],
)
def test_settings_that_cannot_be(morse, options, message):
    with pytest.raises(UserError, match=message):
        relax(molecule("H2O"), morse(), **options)


@pytest.mark.parametrize("suffix", ["xyz", "json", "csv"])
def test_an_interrupted_relaxation_goes_on_and_ends_the_same(morse, tmp_path, suffix):
    molecules = [molecule(name) for name in ("H2O", "NH3", "CH4", "H2O2")]
    ase.io.write(tmp_path / "in.xyz", molecules, format="extxyz")
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    expected = relax(tmp_path / "in.xyz", morse(), steps=3, batch_size=2, output=whole)

    def stop(done: int, _failed: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterruptedError, match="relax stopped by SIGINT; 2 structures are in"):
        relax(tmp_path / "in.xyz", morse(), steps=3, batch_size=2, output=output, progress=stop)
    assert not output.exists()
    found = relax(tmp_path / "in.xyz", morse(), steps=3, batch_size=2, output=output)
    assert output.read_bytes() == whole.read_bytes()
    assert not journal_path(output).exists()
    for record, other in zip(found, expected, strict=True):
        assert list(record) == list(other)
        for name, value in record.items():
            assert type(value) is type(other[name]), name
            np.testing.assert_array_equal(value, other[name])


def test_other_constraints_and_charges_do_not_go_on(morse, tmp_path):
    output = tmp_path / "out.xyz"
    free, held, other = (molecule("H2O") for _ in range(3))
    held.set_constraint(FixAtoms([0, 1, 2]))

    def stop(done: int, _failed: int) -> None:
        if done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(RunInterruptedError):
        relax([free, other], morse(), batch_size=1, output=output, progress=stop)
    assert relax([held, other], morse(), batch_size=1, output=output)[0]["steps"] == 0
    output.unlink()
    with pytest.raises(RunInterruptedError):
        relax([free, other], morse(), batch_size=1, output=output, progress=stop)
    charged = Calculator(morse(), charge=2, unsafe=True)
    assert relax([free, other], charged, batch_size=1, output=output)[0]["total_charge"] == 2


def planar_ammonia():
    turns = np.radians([0.0, 120.0, 240.0])
    hydrogens = 1.0 * np.stack([np.cos(turns), np.sin(turns), np.zeros(3)], axis=1)
    return Atoms("NH3", [[0.0, 0.0, 0.0], *hydrogens])


def test_flat_ammonia_stays_flat_and_becomes_a_pyramid_where_a_minimum_is_asked_for():
    """The barrier of its inversion, 0.25 eV in experiment (Swalen, Ibers, 1962), is left."""
    flat, bent = (relax(planar_ammonia(), "organic", minimum=m)[0] for m in (False, True))
    assert flat["converged"]
    assert "n_imaginary" not in flat
    assert np.ptp(np.asarray(flat["positions"])[:, 2]) == pytest.approx(0.0, abs=1e-3)
    assert bent["converged"]
    assert bent["n_imaginary"] == 0
    assert bent["fmax"] < 1e-3
    assert np.ptp(np.asarray(bent["positions"])[:, 2]) > 0.3
    assert 0.1 < flat["energy"] - bent["energy"] < 0.5
    assert bent["energy_change"] == pytest.approx(flat["energy_change"] - 0.25, abs=0.2)


def test_a_structure_that_is_a_minimum_already_takes_no_step(morse):
    minimum = relax(molecule("H2O"), morse(), fmax=1e-4)[0]
    atoms = Atoms("OH2", minimum["positions"])
    again, single = relax([atoms, Atoms("O")], morse(), minimum=True)
    assert (again["steps"], again["n_imaginary"]) == (0, 0)
    assert (single["steps"], single["n_imaginary"]) == (0, 0)


def test_fixed_atoms_have_no_minimum(morse):
    held = molecule("H2O")
    held.set_constraint(FixAtoms([0]))
    (record,) = relax(held, morse(), minimum=True)
    assert "has fixed atoms" in record["error"]
