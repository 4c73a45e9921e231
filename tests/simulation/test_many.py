"""Many structures at once move and relax as each would alone, and stop by themselves."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixBondLengths, FixCom

from molequi.errors import UserError
from molequi.simulation import trajectory
from molequi.simulation.calculator import Calculator
from molequi.simulation.constraints import FixBonds, FixCentres
from molequi.simulation.joined import Joined
from molequi.simulation.md import run_many, run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.relaxation import relax, relax_atoms

NAMES = ("H2O", "CH4", "CO2", "CH3CH2OH")
HOW = {
    "nve": {},
    "langevin": {"ensemble": "nvt", "friction": 0.05},
    "bussi": {"ensemble": "nvt", "thermostat": "bussi"},
    "chains": {"ensemble": "nvt", "thermostat": "nose-hoover"},
    "ramp": {"ensemble": "nvt", "thermostat": "bussi", "ramp": ((300.0, 0.0), (500.0, 0.02))},
    "held": {"ensemble": "nvt", "constrain": ("x-h",)},
}


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def structures():
    found = [molecule(name) for name in NAMES]
    for number, atoms in enumerate(found):
        atoms.rattle(0.02, seed=number)
    found[2].set_constraint(FixAtoms([1]))
    return found


def own_frames(path, number):
    return [atoms for atoms in ase.io.read(path, ":") if atoms.info["molequi_index"] == number]


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_each_moves_as_it_would_alone(network, structures, tmp_path, how):
    """In float64 to rounding: positions agree to 1e-8 Å after 30 steps, the digits of the file."""
    shared = {**how, "steps": 30, "interval": 10, "max_stretch": None}
    many, alone = tmp_path / "many.xyz", tmp_path / "alone.xyz"
    results = run_many(structures, network, MDSettings(**shared), output=many)
    for number, atoms in enumerate(structures):
        one = run_md(
            atoms, network, MDSettings(**shared, seed=number), output=alone, overwrite=True
        )
        assert results[number]["temperature_mean"] == pytest.approx(
            one["temperature_mean"], rel=1e-9
        )
        frames, expected = own_frames(many, number), ase.io.read(alone, ":")
        assert len(frames) == len(expected) == one["frames"] == 4
        for frame, other in zip(frames, expected, strict=True):
            np.testing.assert_allclose(frame.positions, other.positions, atol=1e-8, rtol=0)
            np.testing.assert_allclose(frame.get_momenta(), other.get_momenta(), atol=1e-7, rtol=0)
        assert not np.allclose(frames[-1].positions, frames[0].positions, atol=1e-3)


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("suffix", ["xyz", "traj"])
def test_many_go_on_to_the_last_bit(network, structures, tmp_path, monkeypatch, how, suffix):
    monkeypatch.setattr(trajectory, "SECONDS_BETWEEN_SAVES", 0.0)
    settings = MDSettings(**how, steps=12, interval=3, max_stretch=None)
    whole, torn = tmp_path / f"whole.{suffix}", tmp_path / f"torn.{suffix}"
    expected = run_many(structures, network, settings, output=whole)

    def kill(step, *_):
        if step == 6:
            raise KilledError

    with pytest.raises(KilledError):
        run_many(structures, network, settings, output=torn, progress=kill)
    with torn.open("ab") as file:
        file.write(b"half a frame")
    found = run_many(structures, network, settings, output=torn, restart=True)
    for ending in ("", ".csv"):
        ours, theirs = (path.with_name(path.name + ending) for path in (torn, whole))
        assert ours.read_bytes() == theirs.read_bytes()
    assert [{**one, "output": ""} for one in found] == [{**one, "output": ""} for one in expected]


def test_one_that_stops_leaves_the_others_to_go_on(morse, tmp_path, monkeypatch):
    """A diatomic that flies apart, between two that do not; a restart after it stopped as well."""
    monkeypatch.setattr(trajectory, "SECONDS_BETWEEN_SAVES", 0.0)
    calm, torn = (Atoms("CO", positions=[[0, 0, 0], [length, 0, 0]]) for length in (1.17, 0.8))
    settings = MDSettings(temperature=10.0, steps=120, interval=20)
    output, cut = tmp_path / "many.xyz", tmp_path / "cut.xyz"
    results = run_many([calm, torn, calm], morse(), settings, output=output)
    assert [one["stopped"] is None for one in results] == [True, False, True]
    assert [one["steps"] for one in results][::2] == [120, 120]
    assert results[1]["steps"] < 120
    last = own_frames(output, 1)[-1]
    assert last.info["molequi_stopped"] == results[1]["stopped"]
    assert len(own_frames(output, 0)) == len(own_frames(output, 2)) == 7

    def kill(step, *_):
        if step == 100:
            raise KilledError

    with pytest.raises(KilledError):
        run_many([calm, torn, calm], morse(), settings, output=cut, progress=kill)
    run_many([calm, torn, calm], morse(), settings, output=cut, restart=True)
    assert cut.read_bytes() == output.read_bytes()


def test_one_that_the_model_does_not_know_costs_only_itself(morse):
    results = run_many([molecule("H2O"), molecule("CH3Cl")], morse(), MDSettings(steps=2))
    assert results[0]["steps"] == 2
    assert "element Cl" in results[1]["error"]
    with pytest.raises(UserError, match="element Cl"):
        run_many([molecule("CH3Cl")], morse(), MDSettings(steps=2))
    with pytest.raises(UserError, match="npt takes one cell at a time"):
        run_many([molecule("H2O")] * 2, morse(), MDSettings("npt", steps=2))


def test_many_relax_as_each_would_alone(network, structures):
    """The same number of steps and the same minimum, in whatever company."""
    records = relax(structures, network, fmax=0.02, steps=40)
    for record, atoms in zip(records, structures, strict=True):
        alone = atoms.copy()
        alone.calc = Calculator(network)
        result = relax_atoms(alone, fmax=0.02, steps=40)
        assert (record["steps"], record["converged"]) == (result.steps, result.converged)
        np.testing.assert_allclose(record["positions"], result.atoms.positions, atol=1e-7)
        assert record["fmax"] == pytest.approx(result.fmax, abs=1e-6)


def test_bonds_and_centres_are_held_as_ase_holds_them():
    """One by one in ASE, all at once here: to 1e-10."""
    atoms = molecule("CH3CH2OH")
    joined, rng = Joined([atoms]), np.random.default_rng(0)
    pairs = np.array([[i, j] for i in (0, 1, 2) for j in range(3, 9) if near(atoms, i, j)])
    vectors = atoms.positions[pairs[:, 1]] - atoms.positions[pairs[:, 0]]
    ours = [
        FixBonds(pairs, vectors, joined, np.zeros(0, dtype=int)),
        FixCentres(joined, np.array([True])),
    ]
    theirs = [FixBondLengths(pairs), FixCom()]
    for constraint, other in zip(ours, theirs, strict=True):
        moved = atoms.positions + rng.normal(scale=0.02, size=atoms.positions.shape)
        momenta = rng.normal(size=atoms.positions.shape)
        for name, values in (("adjust_positions", moved), ("adjust_momenta", momenta)):
            found, expected = values.copy(), values.copy()
            getattr(constraint, name)(atoms, found)
            getattr(other, name)(atoms, expected)
            np.testing.assert_allclose(found, expected, atol=1e-10)
            assert np.abs(found - values).max() > 1e-3
        assert constraint.get_removed_dof(atoms) == other.get_removed_dof(atoms)


def near(atoms, i, j):
    return atoms.get_distance(i, j) < 1.2
