"""Alanine: both enantiomers, their labels, their split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from molequi.datasets.chirality.alanine import load_alanine
from molequi.datasets.conversion import atoms_from_frames
from molequi.datasets.load import load_dataset
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import check_groups
from molequi.errors import UserError
from molequi.structures.perception import labels_from_geometry


def settings(**fields: object) -> DataSettings:
    return DataSettings.model_validate(fields)


def test_alanine_comes_as_both_enantiomers(sample: Callable[[str], Path]) -> None:
    loaded = load_alanine(sample("alanine.npz"))
    frames = loaded.frames
    assert {name: len(rows) for name, rows in loaded.splits.items()} == {
        "train": 320,
        "valid": 40,
        "test": 40,
    }
    check_groups(loaded.splits, loaded.groups, "alanine")
    for index in range(0, 400, 2):
        first, second = atoms_from_frames(frames, index), atoms_from_frames(frames, index + 1)
        np.testing.assert_array_equal(first.positions, -second.positions)
        assert loaded.groups[index] == loaded.groups[index + 1]
    values = frames.targets["handedness"].reshape(400, 13)
    known = ~values.isnan()
    assert (known.sum(dim=1) == 1).all()
    # L is S, and stands first.
    assert values[known].tolist() == [0.0, 1.0] * 200
    for index, label in ((0, "S"), (1, "R"), (398, "S"), (399, "R")):
        assert list(labels_from_geometry(atoms_from_frames(frames, index)).centres.values()) == [
            label
        ]
        assert frames.atomic_numbers.reshape(400, 13)[index][known[index]].tolist() == [6]


def test_whole_set_of_alanine(reference_data: Callable[[str], Path]) -> None:
    path = reference_data("chirality/alanine_L_conformers.npz")
    loaded = load_dataset(
        settings(kind="alanine", path=str(path), targets=["handedness"], split={"kind": "official"})
    )
    splits = loaded.splits
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 16000,
        "valid": 2000,
        "test": 2000,
    }
    with np.load(path) as arrays:
        test = np.flatnonzero(arrays["split"] == 2)
    assert sorted(set((splits["test"] // 2).tolist())) == test.tolist()


def test_damaged_alanine(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    with np.load(sample("alanine.npz")) as arrays:
        good = dict(arrays)

    def complaint(**changes: np.ndarray | None) -> str:
        np.savez(
            tmp_path / "a.npz",
            **{name: values for name, values in {**good, **changes}.items() if values is not None},
        )
        with pytest.raises(UserError) as caught:
            load_alanine(tmp_path / "a.npz")
        return str(caught.value)

    assert "array 'split' is missing" in complaint(split=None)
    assert "the arrays do not fit" in complaint(split=good["split"][1:])
    assert "the arrays do not fit" in complaint(split=good["split"] + 1)
    assert "the arrays do not fit" in complaint(R=good["R"][:0], split=good["split"][:0])
    assert "the arrays do not fit" in complaint(z=np.array(6))
    assert "the arrays do not fit" in complaint(R=np.array(0.0))
    mixed = good["R"].copy()
    mixed[[7, 9]] *= -1
    assert "frame 7 (2 in all) is the other enantiomer than frame 0" in complaint(R=mixed)
    assert "should have one stereocentre, found 0" in complaint(R=good["R"] * 3)
    bad = good["R"].copy()
    bad[5, 3] = np.nan
    assert "not finite" in complaint(R=bad) or "frame 5" in complaint(R=bad)
