"""The same structure, or another geometry of the same molecule, in two parts of a split."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from molequi.datasets.conversion import frames_from_atoms
from molequi.datasets.duplicates import molecules_of, shared_with_training
from molequi.structures.molecules import conformers_from_smiles


def parts(**rows: list[int]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(list(rows.get(name, []))) for name in ("train", "valid", "test")}


def test_twins_and_conformers_are_told() -> None:
    ethers, alcohols = (conformers_from_smiles(s, 3) for s in ("CCOCC", "CCCCO"))
    for seed, atoms in enumerate([*ethers, *alcohols]):
        atoms.rattle(0.01, seed=seed)
    mirrored = ethers[0].copy()
    mirrored.positions = -mirrored.positions[:, [1, 0, 2]] + 2.0
    structures = [*ethers, *alcohols, mirrored]  # 0 1 2, 3 4 5, 6
    frames = frames_from_atoms(structures, source=[f"a:{i}" for i in range(7)])
    (line,), others = shared_with_training(frames, parts(train=[0, 1, 2], valid=[3, 4], test=[6]))
    assert others == []
    assert line.startswith("1 of 1 structures of test stand in train too")
    assert "first a:6, as a:0" in line
    none, (line,) = shared_with_training(frames, parts(train=[0, 3], valid=[1, 4], test=[]))
    assert none == []
    assert line.startswith("2 of 2 structures of valid are molecules that train has too")
    apart = shared_with_training(frames, parts(train=[0, 1, 2], valid=[3], test=[4]))
    assert apart == ([], [])
    twins, molecules = shared_with_training(frames, parts(train=[0, 3], valid=[5], test=[2, 6]))
    assert [line[:6] for line in twins] == ["1 of 2"]
    assert [line[:6] for line in molecules] == ["1 of 1", "2 of 2"]


def test_one_molecule_is_a_trajectory() -> None:
    structures = conformers_from_smiles("CCCCO", 4)
    for seed, atoms in enumerate(structures):  # conformers may be mirror images of each other
        atoms.rattle(0.01, seed=seed)
    frames = frames_from_atoms(structures)
    assert shared_with_training(frames, parts(train=[0, 1], valid=[2], test=[3])) == ([], [])


def test_names_of_molecules_group_them() -> None:
    structures = [*conformers_from_smiles("CCOCC", 2), *conformers_from_smiles("CCCCO", 2)]
    names = molecules_of(frames_from_atoms([*structures, bulk("Cu"), bulk("Cu")]))
    assert names[0] == names[1] != names[2] == names[3]
    assert names[4] != names[5]
    assert np.all([isinstance(name, str) for name in names])


def test_twins_among_many_are_those_of_every_pair_compared() -> None:
    generator = np.random.default_rng(0)
    structures = [Atoms("CHF", positions=generator.normal(size=(3, 3))) for _ in range(60)]
    copies = [atoms.copy() for atoms in structures[:20]]
    for atoms in copies:
        atoms.rotate(generator.uniform(0, 360), generator.normal(size=3))
        atoms.positions[:] = atoms.positions[:] * [1, 1, -1] + 3.0
    turned = [atoms[[2, 0, 1]] for atoms in copies]
    moved = [atoms.copy() for atoms in structures[20:30]]
    for atoms in moved:
        atoms.positions[0] += 0.01
    frames = frames_from_atoms([*structures, *turned, *moved])
    (line,), _ = shared_with_training(frames, parts(train=range(60), test=range(60, 90)))
    assert line.startswith("20 of 30 structures of test stand in train too")


def test_another_charge_is_no_twin() -> None:
    atoms = molecule("H2O")
    ion = atoms.copy()
    ion.info["charge"] = 1
    frames = frames_from_atoms([atoms, ion])
    assert shared_with_training(frames, parts(train=[0], test=[1])).structures == []


def test_crystals_are_twins_where_cell_and_coordinates_are_equal() -> None:
    structures = [bulk("Cu", cubic=True) for _ in range(3)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.05, seed=seed)
    wider, shifted, ion = (structures[0].copy() for _ in range(3))
    wider.set_cell(wider.cell * 1.01)
    shifted.positions += 0.01
    ion.info["charge"] = 1
    copies = [structures[1].copy(), structures[1].copy()]
    frames = frames_from_atoms([*structures, wider, shifted, ion, *copies])
    (line,), _ = shared_with_training(frames, parts(train=[0, 1, 6], valid=[2], test=[3, 4, 5, 7]))
    assert line.startswith("1 of 4 structures of test stand in train too")
    assert "first structure 7, as structure 1" in line
