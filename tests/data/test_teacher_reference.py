"""The recipe of reference geometries and frequencies, with a spring in the place of the teacher."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io import read

RECIPES = Path(__file__).parents[2] / "data" / "recipes"
STIFFNESS, LENGTH = 30.0, 1.1  # eV/Å², Å


class Springs:
    """A spring between the first atom and every other one."""

    def label(self, structures):
        return [self.one(s) for s in structures]

    def one(self, s):
        vectors = s.pos[1:] - s.pos[0]
        stretch = np.linalg.norm(vectors, axis=1, keepdims=True) - LENGTH
        pulls = STIFFNESS * stretch * vectors / (stretch + LENGTH)
        forces = np.concatenate([pulls.sum(axis=0, keepdims=True), -pulls])
        energy = 0.5 * STIFFNESS * float(np.square(stretch).sum()) + s.charge
        return SimpleNamespace(energy=energy, forces=forces, charges=np.zeros(len(s.z)))


@pytest.fixture(scope="module")
def reference():
    if not RECIPES.exists():
        pytest.skip("data/recipes is only in the checkout")
    sys.path.insert(0, str(RECIPES))
    try:
        return importlib.import_module("teacher_reference")
    finally:
        sys.path.remove(str(RECIPES))


@pytest.fixture
def calculator(reference):
    return reference.TeacherCalculator(Springs())


def test_calculator_hears_of_charges_and_refuses_what_the_teacher_lacks(calculator):
    atoms = Atoms("N2", [[0, 0, 0], [0, 0, LENGTH]])
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(0.0)
    atoms.info["charge"] = 2
    assert atoms.get_potential_energy() == pytest.approx(2.0)
    atoms.info["charge"] = 1
    with pytest.raises(ValueError, match="closed shells"):
        atoms.get_potential_energy()
    iron = Atoms("Fe2", [[0, 0, 0], [0, 0, 2]], calculator=calculator)
    with pytest.raises(ValueError, match="does not know"):
        iron.get_potential_energy()


def test_frequency_of_a_spring_is_that_of_the_textbook(reference, calculator):
    """omega = sqrt(k / reduced mass), over 2 pi c: one mode of two atoms."""
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, LENGTH]])
    (found,) = reference.frequencies(atoms, calculator)
    c, o = atoms.get_masses()
    omega = np.sqrt(STIFFNESS * units._e * 1e20 / (c * o / (c + o) * units._amu))
    assert found == pytest.approx(omega / (2 * np.pi * units._c * 100), rel=1e-3)


def test_relaxation_reaches_the_length_of_the_springs(reference, calculator, tmp_path):
    frames = [molecule("CH4"), molecule("NH3")]
    for atoms in frames:
        atoms.info |= {"name": str(atoms.symbols), "charge": 0}
    path = tmp_path / "found.extxyz"
    reference.write_geometries(path, frames[:1], calculator)
    reference.write_geometries(path, frames, calculator)  # goes on
    found = read(path, index=":")
    assert [atoms.info["name"] for atoms in found] == ["CH4", "NH3"]
    for atoms in found:
        assert atoms.get_all_distances()[0, 1:] == pytest.approx(LENGTH, abs=1e-3)
        assert np.abs(atoms.get_forces()).max() <= reference.FORCE


def test_molecules_are_chosen_by_their_rarest_kind(reference, monkeypatch):
    """Complexes, training molecules, displaced and small ones stay out; ions and iodine come in."""
    names = ["CCCC", "CCCI", "CC[NH3+]", "C.C", "CCCO", "CCCF", "CC"]
    sizes = np.array([12, 12, 11, 12, 12, 12, 8])
    first = np.where(np.array(names) == "CCCI", 53, 6)
    arrays = {
        "n_atoms": sizes,
        "name": np.array(names),
        "part": np.array([1, 2, 2, 2, 0, 1, 1]),
        "sampler": np.array([reference.RELAXED] * 5 + [0, reference.RELAXED]),
        "damage": np.zeros(7),
        "charge": np.array([0, 0, 1, 0, 0, 0, 0]),
        "z": np.concatenate([[z, *[1] * (n - 1)] for z, n in zip(first, sizes, strict=True)]),
        "pos": np.zeros((sizes.sum(), 3)),
    }
    monkeypatch.setattr(reference.assembly, "read_shards", lambda _: arrays)
    found = reference.held_out(Path(), 3)
    assert {atoms.info["name"] for atoms in found} == {"CCCC", "CCCI", "CC[NH3+]"}
    assert {atoms.info["name"] for atoms in reference.held_out(Path(), 2)} >= {"CCCI"}


def test_reference_files_of_the_benchmark_are_whole(reference):
    """Harmonic wavenumbers of water from experiment, cm^-1: 1649, 3832, 3943."""
    folder = Path(__file__).parents[1] / "files"
    document = json.loads((folder / "teacher_frequencies.json").read_text())
    assert set(document) == set(reference.SMALL)
    for entry in document.values():
        n_atoms = len(entry["numbers"])
        assert len(entry["frequencies_cm1"]) in {3 * n_atoms - 6, 3 * n_atoms - 5}
        assert min(entry["frequencies_cm1"]) > 300
    assert document["water"]["frequencies_cm1"] == pytest.approx([1649, 3832, 3943], abs=60)
    frames = read(folder / "teacher_geometries.extxyz.gz", index=":")
    assert {atoms.info["name"] for atoms in frames} >= set(reference.NAMED)
    assert max(np.abs(atoms.get_forces()).max() for atoms in frames) <= reference.FORCE
