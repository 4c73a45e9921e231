"""Splits: disjoint, seeded, published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from molequi.datasets.load import load_dataset
from molequi.datasets.rmd17 import load_rmd17
from molequi.datasets.settings import DataSettings
from molequi.datasets.splits import (
    check_groups,
    check_split,
    choose,
    cormorant_split,
    file_split,
    grouped_split,
    hashed_split,
    official_split,
    random_split,
    restrict,
    shrink,
)
from molequi.errors import UserError


@pytest.mark.parametrize("n_frames", [10, 11, 97, 1000])
def test_fractions_cover_everything_once(n_frames: int) -> None:
    parts = random_split(n_frames, {"train": 0.8, "valid": 0.1, "test": 0.1}, seed=1)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(n_frames))
    assert len(parts["valid"]) == round(0.1 * n_frames)


def test_seed_decides() -> None:
    sizes = {"train": 30, "valid": 5, "test": 7}
    first, again, other = (random_split(50, sizes, seed) for seed in (0, 0, 1))
    assert {name: len(rows) for name, rows in first.items()} == sizes
    assert all(torch.equal(first[name], again[name]) for name in sizes)
    assert not torch.equal(first["train"], other["train"])
    assert len(torch.unique(torch.cat(list(first.values())))) == 42


def test_impossible_sizes() -> None:
    with pytest.raises(UserError, match="asks for 60 structures .* has 50"):
        random_split(50, {"train": 50, "valid": 5, "test": 5}, 0)
    with pytest.raises(UserError, match="leaves no structure for valid"):
        random_split(4, {"train": 0.8, "valid": 0.1, "test": 0.1}, 0)
    with pytest.raises(UserError, match="neither a fraction below 1 nor a whole number"):
        random_split(50, {"train": 10.5, "valid": 5, "test": 5}, 0)


def test_cormorant_split_is_the_published_one(reference_data: Callable[[str], Path]) -> None:
    parts = cormorant_split()
    with np.load(reference_data("qm9/split_cormorant.npz"), allow_pickle=False) as published:
        for name in ("train", "valid", "test"):
            assert np.array_equal(parts[name].numpy(), published[name])


def test_cormorant_split_without_reference_data() -> None:
    """The first rows of the published parts."""
    parts = cormorant_split()
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [100_000, 17_748, 13_083]
    assert parts["train"][:4].tolist() == [130195, 68784, 7957, 25911]
    assert parts["valid"][:4].tolist() == [68751, 123554, 28669, 72737]
    assert parts["test"][:4].tolist() == [115839, 90242, 66405, 71231]
    with pytest.raises(UserError, match="belongs to the 130831 molecules .* has 3000"):
        cormorant_split(3000)


def test_official_split_carves_validation_out_of_training() -> None:
    train, test = torch.arange(1000), torch.arange(1000, 1500)
    parts = official_split(train, test, valid=50, seed=0)
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [950, 50, 500]
    assert sorted(torch.cat([parts["train"], parts["valid"]]).tolist()) == train.tolist()
    assert len(official_split(train, test, valid=0.1, seed=0)["valid"]) == 100
    with pytest.raises(UserError, match="take for example 50"):
        official_split(train, test, valid=1000, seed=0)


@pytest.mark.parametrize("spelling", ["valid", "val", "validation", "split_valid"])
@pytest.mark.parametrize("suffix", ["npz", "json"])
def test_file_split(tmp_path: Path, spelling: str, suffix: str) -> None:
    rows = {"train": [0, 2], spelling: [1], "test": [3]}
    path = tmp_path / f"split.{suffix}"
    if suffix == "npz":
        np.savez(path, **{name: np.array(values) for name, values in rows.items()})
    else:
        path.write_text(json.dumps(rows))
    parts = file_split(path, 4)
    assert {name: part.tolist() for name, part in parts.items()} == {
        "train": [0, 2],
        "valid": [1],
        "test": [3],
    }


def test_wrong_split_files(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text("{")
    with pytest.raises(UserError, match="holds no JSON"):
        file_split(path, 4)
    path.write_text(json.dumps({"train": [0], "test": [1]}))
    with pytest.raises(UserError, match="'valid' is missing, found train, test"):
        file_split(path, 4)
    path.write_text(json.dumps({"train": [0], "valid": [1], "test": [4]}))
    with pytest.raises(UserError, match="names row 4.*rows 0 to 3"):
        file_split(path, 4)
    path.write_text(json.dumps({"train": [0], "valid": [1], "validation": [2], "test": [3]}))
    with pytest.raises(UserError, match="has valid and validation; keep one of them"):
        file_split(path, 4)
    with pytest.raises(UserError, match="the split names row 1 more than once"):
        check_split({"train": torch.tensor([0, 1]), "test": torch.tensor([1])}, 4, "x")


def test_smaller_choices_lie_within_larger_ones() -> None:
    parts = {
        "train": torch.arange(100, 200),
        "valid": torch.arange(20),
        "test": torch.arange(20, 40),
    }
    small, large = (
        shrink(parts, {"train": size, "valid": 0.1, "test": 0.1}, seed=3) for size in (10, 40)
    )
    assert (
        set(small["train"].tolist()) < set(large["train"].tolist()) < set(parts["train"].tolist())
    )
    assert torch.equal(small["valid"], parts["valid"])
    with pytest.raises(UserError, match="split.train=101"):
        shrink(parts, {"train": 101}, seed=0)
    with pytest.raises(UserError, match="10.7 is neither a fraction below 1 nor a whole number"):
        shrink(parts, {"train": 10.7}, seed=0)


def test_restrict_renumbers() -> None:
    parts = restrict(
        {"train": torch.tensor([5, 0, 3]), "test": torch.tensor([1])}, torch.tensor([0, 1, 5]), 6
    )
    assert {name: rows.tolist() for name, rows in parts.items()} == {"train": [2, 0], "test": [1]}


def write_rmd17(path: Path, *, original: bool) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    arrays = {
        "z": np.array([8, 1, 1]),
        "R": generator.normal(size=(6, 3, 3)),
        "E": generator.normal(size=6),
        "F": generator.normal(size=(6, 3, 3)),
    }
    if original:
        names = {"z": "nuclear_charges", "R": "coords", "E": "energies", "F": "forces"}
        np.savez(path, **{names[name]: values for name, values in arrays.items()})
        (path.parent / "splits").mkdir()
        np.savetxt(path.parent / "splits" / "index_train_02.csv", [1, 3, 5], fmt="%d")
        np.savetxt(path.parent / "splits" / "index_test_02.csv", [0], fmt="%d")
    else:
        np.savez(
            path,
            **arrays,
            train_02=np.array([1, 3, 5], dtype=np.int16),
            test_02=np.array([0], dtype=np.int16),
        )
    return arrays


@pytest.mark.parametrize("original", [False, True])
def test_rmd17(tmp_path: Path, original: bool) -> None:
    arrays = write_rmd17(tmp_path / "rmd17_water.npz", original=original)
    loaded = load_rmd17(tmp_path / "rmd17_water.npz", split=2)
    frames, splits = loaded.frames, loaded.splits
    # 1 kcal/mol = 43.364 meV.
    assert frames.targets["energy"].numpy() == pytest.approx(arrays["E"] * 0.0433641, rel=1e-5)
    assert frames.targets["forces"].numpy() == pytest.approx(
        arrays["F"].reshape(-1, 3) * 0.0433641, rel=1e-5
    )
    assert np.array_equal(frames.positions.numpy(), arrays["R"].reshape(-1, 3))
    assert frames.atomic_numbers.tolist() == [8, 1, 1] * 6
    assert {name: rows.tolist() for name, rows in splits.items()} == {
        "train": [1, 3, 5],
        "test": [0],
    }
    with pytest.raises(UserError, match="no published split 1"):
        load_rmd17(tmp_path / "rmd17_water.npz", split=1)
    with pytest.raises(UserError, match="splits 1 to 5; got 6"):
        load_rmd17(tmp_path / "rmd17_water.npz", split=6)


@pytest.mark.parametrize(
    ("train", "test", "fault"),
    [
        ([1, 3, 6], [0], "the split names row 6, but the data has rows 0 to 5"),
        ([-1, 3, 4], [0], "the split names row -1, but"),
        ([1, 3, 4], [0, 3], "the split names row 3 more than once"),
    ],
)
def test_a_published_split_that_does_not_fit(
    tmp_path: Path, train: list[int], test: list[int], fault: str
) -> None:
    arrays = write_rmd17(tmp_path / "a.npz", original=False)
    np.savez(tmp_path / "a.npz", **arrays, train_01=np.array(train), test_01=np.array(test))
    split = {"kind": "official", "valid": 1}
    settings = DataSettings(path=str(tmp_path / "a.npz"), targets="energy,forces", split=split)
    with pytest.raises(UserError, match=rf"a\.npz: .*{fault}"):
        load_dataset(settings)


def test_rmd17_reference(reference_data: Callable[[str], Path]) -> None:
    loaded = load_rmd17(reference_data("rmd17/rmd17_ethanol.npz"), split=1)
    frames, splits = loaded.frames, loaded.splits
    assert [len(splits[name]) for name in ("train", "test")] == [1000, 1000]
    # -97,075 kcal/mol, PBE/def2-SVP.
    assert float(frames.targets["energy"][0]) == pytest.approx(-4209.57, abs=0.5)
    rows = np.flatnonzero(np.isin(np.arange(len(frames)), splits["train"].numpy()))
    assert not set(rows) & set(splits["test"].tolist())


def test_not_rmd17(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", R=np.zeros((1, 1, 3)))
    with pytest.raises(UserError, match="has no array 'z'; an npz in the layout of rMD17"):
        load_rmd17(tmp_path / "a.npz")


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [1, 2, 7])
def test_groups_stay_together(seed: int, size: int) -> None:
    groups = [f"g{row // size}" for row in range(210)]
    order = np.random.default_rng(seed).permutation(210)
    groups = [groups[row] for row in order]
    parts = grouped_split(groups, {"train": 0.8, "valid": 0.1, "test": 0.1}, seed)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(210))
    check_groups(parts, groups, "here")
    for name, share in (("valid", 21), ("test", 21), ("train", 168)):
        assert abs(len(parts[name]) - share) <= size
    again = grouped_split(groups, {"train": 0.8, "valid": 0.1, "test": 0.1}, seed)
    assert all(torch.equal(parts[name], again[name]) for name in parts)


def test_few_large_groups() -> None:
    parts = grouped_split(
        ["a"] * 5 + ["b"] * 5 + ["c"] * 5, {"train": 0.8, "valid": 0.1, "test": 0.1}, 0
    )
    assert sorted(len(rows) for rows in parts.values()) == [5, 5, 5]
    some = grouped_split(
        [str(row // 2) for row in range(40)], {"train": 10, "valid": 4, "test": 4}, 0
    )
    assert [len(some[name]) for name in ("train", "valid", "test")] == [10, 4, 4]
    with pytest.raises(
        UserError, match="no structure for train: 10 structures are 1 groups that stay together"
    ):
        grouped_split(["a"] * 10, {"train": 0.8, "valid": 0.1, "test": 0.1}, 0)


def test_groups_in_two_parts_are_found() -> None:
    parts = {"train": torch.tensor([0, 1]), "test": torch.tensor([2])}
    check_groups(parts, ["CC", "CO", "CN"], "a.npz")
    with pytest.raises(
        UserError,
        match="a.npz: 'CC' stands in train and in test; its mirror images and conformers belong "
        "into one part",
    ):
        check_groups(parts, ["CC", "CO", "CC"], "a.npz")


def test_hashed_split_does_not_depend_on_the_rest_of_the_set() -> None:
    names = [f"C{'C' * length}{'O' * oxygens}" for length in range(60) for oxygens in range(60)]
    whole = hashed_split(names, "salt")
    shares = [len(whole[name]) / len(names) for name in ("train", "valid", "test")]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
    part_of = {names[row]: part for part, rows in whole.items() for row in rows.tolist()}
    few = names[7::13]
    for part, rows in hashed_split(few, "salt").items():
        assert all(part_of[few[row]] == part for row in rows.tolist())
    other = hashed_split(names, "pepper")
    assert not torch.equal(whole["test"], other["test"])


def test_hashed_split_is_that_of_the_documentation() -> None:
    """`printf molequi:chiral:CC | sha256sum` begins with c5b61c89, which is 0.772 of 2^32.

    CCN with d9cd5591 (0.851), CC=O with ebe9db54 (0.922).
    """
    parts = hashed_split(["CC", "CCN", "CC=O"], "molequi:chiral")
    assert {name: rows.tolist() for name, rows in parts.items()} == {
        "train": [0],
        "valid": [1],
        "test": [2],
    }


def test_choice_of_whole_groups() -> None:
    groups = [str(row // 3) for row in range(30)]
    chosen = choose(30, 10, 0, groups)
    assert len(chosen) == 9
    assert {groups[row] for row in chosen.tolist()} == {groups[row] for row in chosen.tolist()[::3]}
    assert torch.equal(
        choose(30, 10, 0), torch.from_numpy(np.sort(np.random.default_rng(0).permutation(30)[:10]))
    )
