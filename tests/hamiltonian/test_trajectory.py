"""A trajectory of the user's own: read, learned from, and left as a model like any other."""

from __future__ import annotations

import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.md.verlet import VelocityVerlet

import molequi
from molequi.errors import UserError
from molequi.experiments import fit
from molequi.hamiltonian.config import make_dynamics_config
from molequi.hamiltonian.data import digest_of, make_data
from molequi.hamiltonian.saved import load_dynamics

STEP = 0.25  # fs


class Springs(Calculator):
    """Harmonic bonds between all atoms of water: forces that nobody here has to know."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        vectors = atoms.positions[:, None] - atoms.positions[None]
        lengths = np.linalg.norm(vectors, axis=2) + np.eye(3)
        rest = np.array([[1.0, 0.96, 0.96], [0.96, 1.0, 1.51], [0.96, 1.51, 1.0]])
        stretch = (lengths - rest) * (1.0 - np.eye(3))
        self.results["energy"] = 0.25 * 30.0 * (stretch**2).sum()
        self.results["forces"] = -30.0 * (stretch / lengths)[:, :, None] * vectors
        self.results["forces"] = self.results["forces"].sum(axis=1)


@pytest.fixture(scope="module")
def frames():
    atoms = Atoms("OHH", [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
    atoms.calc = Springs()
    atoms.set_momenta(np.random.default_rng(0).normal(0.0, 0.2, (3, 3)))
    atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(axis=0))
    found = []
    motion = VelocityVerlet(atoms, STEP * units.fs)
    for _ in range(101):
        found.append(Atoms(atoms.numbers, atoms.positions, momenta=atoms.get_momenta()))
        motion.run(1)
    return found


def config_of(path, **data):
    settings = {"kind": "molecule", "path": str(path), "timestep": STEP, "train": 0.015}
    return make_dynamics_config(
        {
            "name": "own",
            "data": {**settings, "test": 0.006, **data},
            "model": {"kind": "spherical", "width": 4, "n_layers": 1, "backbone": {"l_max": 1}},
            "training": {"epochs": 2, "batch_size": 5, "device": "cpu"},
        }
    )


def test_own_trajectory_is_taken_as_it_is(frames, tmp_path):
    ase.io.write(tmp_path / "own.extxyz", frames)
    data = make_data(config_of(tmp_path / "own.extxyz"))
    assert data.truth is None
    assert data.train.states.shape == (14, 5, 2, 3, 3)
    assert data.valid.n_systems == 1
    states = np.array([[atoms.positions, atoms.get_momenta()] for atoms in frames])
    # Files keep eight digits.
    np.testing.assert_allclose(data.train.states[0].numpy(), states[:5], atol=2e-8)
    np.testing.assert_allclose(data.rollouts.states[0].numpy(), states[61:86], atol=2e-8)
    assert float(data.train.times[1]) == pytest.approx(STEP * units.fs)


def test_another_trajectory_is_not_that_of_the_run(frames, tmp_path):
    path = tmp_path / "own.extxyz"
    ase.io.write(path, frames)
    data = make_data(config_of(path))
    ase.io.write(path, frames[3:])
    config = config_of(path)
    assert digest_of(make_data(config)) != digest_of(data)
    run = fit(config, tmp_path / "run")
    ase.io.write(path, frames)
    with pytest.raises(UserError, match="is not the one that the run began with"):
        fit(config, run, resume=True)
    with pytest.raises(UserError, match="is not the one that .*run learned from"):
        molequi.evaluate(run)


def test_atoms_without_forces_are_refused(frames, tmp_path):
    still = [frame.copy() for frame in frames]
    for number, frame in enumerate(still):
        frame.set_momenta(frames[0].get_momenta())
        frame.set_positions(frames[0].positions + number * STEP * frames[0].get_velocities())
    ase.io.write(tmp_path / "still.extxyz", still)
    with pytest.raises(UserError, match="never change, so that no force can be learned"):
        make_data(config_of(tmp_path / "still.extxyz"))


def test_what_is_learned_is_a_model_like_any_other(frames, tmp_path):
    ase.io.write(tmp_path / "own.extxyz", frames)
    run = fit(config_of(tmp_path / "own.extxyz"), tmp_path / "run")
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert {"test_mse", "force_mae", "force_baseline_mae", "own_energy_change"} <= set(result)
    # dp/dt along the trajectory: the mean size of the true forces, to the error of differences.
    sizes = []
    for atoms in frames[62:85]:
        atoms.calc = Springs()
        sizes.append(np.abs(atoms.get_forces()).mean())
    assert result["force_baseline_mae"]["value"] == pytest.approx(np.mean(sizes), rel=0.02)
    model, again = molequi.load(run), load_dynamics(run)
    assert model.metadata.charge_multiplicity == ((0, 1),)
    atoms = frames[70].copy()
    atoms.calc = molequi.Calculator(model)
    here = again.model.forces(torch.as_tensor(atoms.positions)[None])[0]
    np.testing.assert_allclose(atoms.get_forces(), here, atol=1e-4)
    followed = molequi.evaluate(run)
    assert followed.keys() == result.keys()
    for name, row in result.items():
        assert followed[name]["value"] == pytest.approx(row["value"], rel=1e-4), name


def test_trajectories_that_lack_something_are_refused(frames, tmp_path):
    path = tmp_path / "own.extxyz"
    ase.io.write(path, [Atoms(atoms.numbers, atoms.positions) for atoms in frames])
    with pytest.raises(UserError, match="frame 0 has no momenta"):
        make_data(config_of(path))
    ase.io.write(path, frames[:70])
    with pytest.raises(UserError, match="holds 70 frames; .* ask for 61 and 25 more"):
        make_data(config_of(path))
    ase.io.write(path, [*frames[:3], Atoms("HOH", frames[3].positions)])
    with pytest.raises(UserError, match="frame 3 has other atoms than frame 0"):
        make_data(config_of(path))


def test_isotopes_of_a_trajectory_have_their_masses(frames, tmp_path):
    heavy = [frame.copy() for frame in frames]
    for frame in heavy:
        frame.set_masses([15.999, 2.014, 2.014])
    ase.io.write(tmp_path / "own.extxyz", heavy)
    systems = make_data(config_of(tmp_path / "own.extxyz")).train.systems
    assert systems.masses[0].tolist() == pytest.approx([15.999, 2.014, 2.014])
    heavy[3].set_masses([15.999, 1.008, 2.014])
    ase.io.write(tmp_path / "own.extxyz", heavy)
    with pytest.raises(UserError, match="frame 3 has other atoms than frame 0"):
        make_data(config_of(tmp_path / "own.extxyz"))


def test_times_that_frames_tell(frames, tmp_path):
    told = [frame.copy() for frame in frames]
    for number, frame in enumerate(told):
        frame.info["molequi_time_fs"] = number * 3.0 * STEP
    ase.io.write(tmp_path / "own.extxyz", told)
    with pytest.raises(UserError, match=rf"fs apart, and data.timestep is {STEP:g}; write"):
        make_data(config_of(tmp_path / "own.extxyz"))
    for number, frame in enumerate(told):
        frame.info["molequi_time_fs"] = number * STEP
    ase.io.write(tmp_path / "own.extxyz", told)
    assert make_data(config_of(tmp_path / "own.extxyz")).train.n_systems == 14
