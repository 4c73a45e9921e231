"""What pages are made from: a run, vibrations, a trajectory, structures with names that bite."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from molequi.experiments import train
from molequi.simulation.md import run_md
from molequi.simulation.md_settings import MDSettings
from molequi.simulation.vibrations import vibrations

NASTY = "</script><script>window.bitten=1</script><img src=//x.test/y onerror=window.bitten=1>"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    """A run of seconds on energies and forces of ethanol."""
    overrides = [
        f"data.path={checkout / 'data' / 'samples' / 'ethanol.extxyz.gz'}",
        "data.limit=60",
        "model.n_layers=1",
        "model.n_channels=4",
        "training.epochs=2",
    ]
    return train("extxyz", overrides, tmp_path_factory.mktemp("runs") / "ethanol")


@pytest.fixture(scope="session")
def vibrations_folder(tmp_path_factory: pytest.TempPathFactory, network) -> Path:
    folder = tmp_path_factory.mktemp("vibrations") / "water"
    vibrations(molecule("H2O"), network, relax_first=False, output=folder)
    return folder


@pytest.fixture(scope="session")
def trajectory(tmp_path_factory: pytest.TempPathFactory, network) -> Path:
    """Twelve frames, 0.5 fs apart."""
    path = tmp_path_factory.mktemp("md") / "ethanol.xyz"
    settings = MDSettings(steps=11, interval=1, timestep=0.5, max_stretch=None)
    run_md(molecule("CH3CH2OH"), network, settings, output=path)
    return path


@pytest.fixture(scope="session")
def structures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three molecules with forces and dipole; the name of the first is markup."""
    frames = []
    random = np.random.default_rng(0)
    for name, formula in ((NASTY, "H2O"), ("ammonia & co", "NH3"), ("benzene", "C6H6")):
        atoms = molecule(formula)
        forces = random.normal(size=(len(atoms), 3))
        atoms.calc = SinglePointCalculator(atoms, energy=-1.25, forces=forces, dipole=[0, 0, 0.2])
        atoms.info |= {"name": name, "molequi_model": NASTY, "molequi_energy_std": 0.03}
        frames.append(atoms)
    path = tmp_path_factory.mktemp("structures") / "some & others.xyz"
    ase.io.write(path, frames, format="extxyz")
    return path
