"""Coincident atoms, and what stays the same under rotation, reflection and renumbering."""

from __future__ import annotations

import tracemalloc

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from molequi.datasets.contacts import are_isolated_atoms, fingerprints, refuse_coincident
from molequi.datasets.conversion import frames_from_atoms
from molequi.errors import UserError
from molequi.structures.molecules import atoms_from_smiles


def test_coincident_atoms_are_named() -> None:
    good = [molecule("CH3CH2OH"), molecule("H2O"), molecule("H"), bulk("NaCl", "rocksalt", a=5.6)]
    refuse_coincident(frames_from_atoms(good))
    bad = molecule("H2O")
    bad.positions[2] = bad.positions[1] + [0, 0, 0.1]
    with pytest.raises(
        UserError, match=r"a:4: atom 2 and atom 1 are 0\.100 Å apart; nuclei closer than 0\.2 Å"
    ):
        names = [f"a:{i}" for i in range(5)]
        refuse_coincident(frames_from_atoms([*good, bad], source=names))
    crystal = ase.Atoms("H2", [[0, 0, 0], [0, 0, 2.95]], cell=[3, 3, 3], pbc=True)
    with pytest.raises(UserError, match="structure 0: atom 1 and atom 0 are closer than"):
        refuse_coincident(frames_from_atoms([crystal]))


def test_isolated_atoms_are_far_from_their_images() -> None:
    wide, skewed = np.eye(3) * 20.0, np.eye(3) * 20.0
    skewed[1] = [17.0, 6.0, 0.0]  # the first vector less this one is 6.7 Å long
    structures = [
        ase.Atoms("H"),
        ase.Atoms("H", cell=wide, pbc=True),
        ase.Atoms("H", cell=skewed, pbc=True),
        ase.Atoms("H", cell=skewed, pbc=[True, False, True]),
        ase.Atoms("H", cell=[20, 20, 3], pbc=[True, True, False]),
        bulk("Cu"),
        molecule("H2"),
    ]
    found = are_isolated_atoms(frames_from_atoms(structures)).tolist()
    assert found == [True, True, False, True, True, False, False]


def test_many_structures_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    structures = [molecule(name) for name in ("CH4", "H2O", "CH3CH2OH", "H", "C6H6")]
    whole = fingerprints(frames_from_atoms(structures))
    monkeypatch.setattr("molequi.datasets.contacts._PAIRS_AT_ONCE", 10)
    parts = fingerprints(frames_from_atoms(structures))
    for mine, other in zip(parts, whole, strict=True):
        assert np.array_equal(mine, other)
    # By hand: water has two pairs O-H and one H-H.
    water = structures[1]
    distances = water.get_all_distances()
    direct = 2 * (8 * distances[0, 1] + 8 * distances[0, 2] + distances[1, 2])
    assert whole.direct[1] == pytest.approx(direct, rel=1e-12)


def test_coincident_atoms_are_found_in_any_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molequi.datasets.contacts._PAIRS_AT_ONCE", 10)
    copper, good = bulk("Cu", cubic=True), molecule("CH3CH2OH")
    for place in range(len(good) - 1):
        bad = good.copy()
        bad.positions[place + 1] = bad.positions[place] + [0, 0.15, 0]
        frames = frames_from_atoms([copper, good, copper, bad, good])
        with pytest.raises(UserError, match=f"structure 3: atom {place + 1} and atom {place} are"):
            refuse_coincident(frames)


def test_memory_does_not_grow_with_the_set() -> None:
    benzene, peaks = frames_from_atoms([molecule("C6H6")]), []
    for n in (4_000, 20_000):  # some parts each
        frames = benzene.subset(torch.zeros(n, dtype=torch.int64))
        tracemalloc.start()
        fingerprints(frames)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 16_000 < 150  # bytes a molecule; the result has 32


def test_fingerprints_are_invariant_and_tell_apart() -> None:
    rng = np.random.default_rng(0)
    hand = atoms_from_smiles("C[C@H](O)F")
    turned = hand.copy()
    turned.rotate(77, (1, 2, 3))
    turned.positions += 5.0
    turned = turned[rng.permutation(len(turned))]
    mirrored = hand.copy()
    mirrored.positions[:, 0] *= -1
    other = hand.copy()
    other.rattle(0.01, seed=1)
    isomer = atoms_from_smiles("OCCF")
    prints = fingerprints(frames_from_atoms([hand, turned, mirrored, other, isomer]))
    assert len(set(prints.formula.tolist())) == 1
    assert len(set(prints.constitution[:4].tolist())) == 1
    assert prints.constitution[4] != prints.constitution[0]
    assert prints.inverse[:3] == pytest.approx(prints.inverse[0], rel=1e-12)
    assert prints.inverse[3] != pytest.approx(prints.inverse[0], rel=1e-5)
    crystal = fingerprints(frames_from_atoms([bulk("Cu")]))
    assert np.isnan(crystal.inverse[0])


@pytest.mark.parametrize(
    ("a", "b"), [("CC(C)CC", "CCCCC"), ("C1CCCCC1", "C1CCCC1C"), ("C=CC=C", "CC#CC"), ("CO", "C")]
)
def test_constitutions_of_isomers(a: str, b: str) -> None:
    prints = fingerprints(frames_from_atoms([atoms_from_smiles(a), atoms_from_smiles(b)]))
    assert prints.constitution[0] != prints.constitution[1]
