"""Other processes and copies give what this one gives: forked, spawned, of joblib, of a loader."""

import copy
import functools
import hashlib
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import joblib
import numpy as np
import pytest
from ase.build import molecule

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.datamodule import MolecularDataModule
from molequi.prediction.predict import predict
from molequi.simulation.calculator import Calculator

NAMES = ("H2O", "CH4", "NH3", "CO2", "C6H6")


def forces(calculator, name):
    """Forces of a molecule, eV/Å."""
    return calculator.get_property("forces", molecule(name))


@pytest.fixture
def calculator(network):
    """A calculator that has computed, so that whatever it starts is running."""
    made = Calculator(network, kernels="reference")
    forces(made, "CH4")
    return made


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_compute_with_a_calculator(calculator, method):
    """A forked child of a process that had computed hung for ever."""
    expected = [forces(calculator, name) for name in NAMES]
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1 if method == "spawn" else 2, mp_context=context) as pool:
        work = pool.map(functools.partial(forces, calculator), NAMES, timeout=300)
        for found, value in zip(work, expected, strict=True):
            np.testing.assert_array_equal(found, value)


@pytest.mark.long
def test_joblib_computes_with_a_calculator(calculator):
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(forces)(calculator, name) for name in NAMES)
    for value, name in zip(found, NAMES, strict=True):
        np.testing.assert_array_equal(value, forces(calculator, name))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_calculators_agree_to_the_bit(calculator, duplicate):
    expected = [forces(calculator, name) for name in NAMES]
    other = duplicate(calculator)
    for name, value in zip(NAMES, expected, strict=True):
        np.testing.assert_array_equal(forces(other, name), value)


SEEDED = """
import sys
from molequi.models.checkpoint import save_model
from molequi.models.making import make_model
from molequi.prediction.predict import predict
model = make_model((1, 6, 8), ["energy", "dipole"], n_channels=8, seed=3)
save_model(model, sys.argv[1] + "/model.safetensors")
predict(smiles=["CCO", "CC(=O)O"], model=model, seed=5, conformers=2, output=sys.argv[1] + "/a.xyz")
"""


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """In new processes, whose hashes of texts differ."""
    found = []
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        folder.mkdir()
        subprocess.run(
            [sys.executable, "-c", SEEDED, str(folder)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        found.append(
            {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}
        )
    assert found[0].keys() == {"model.safetensors", "a.xyz"}
    assert found[0] == found[1]


def test_loader_with_workers_after_a_prediction(network):
    structures = [molecule(name) for name in ("H2O", "CH4", "NH3", "CO2")] * 2
    before = predict(structures, network)
    frames = frames_from_atoms(structures)
    splits = {"valid": frames.n_atoms.new_tensor(range(len(structures)))}
    loader = MolecularDataModule(
        frames, splits, network.cutoff, batch_size=2, workers=1
    ).val_dataloader()
    energies = [
        energy for batch in loader for energy in network.compute(batch.graph)["energy"].tolist()
    ]
    assert len(energies) == len(structures)
    assert (
        max(abs(energy - record["energy"]) for energy, record in zip(energies, before, strict=True))
        < 1e-10
    )
    assert [record["energy"] for record in predict(structures, network)] == [
        record["energy"] for record in before
    ]
