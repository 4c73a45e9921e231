"""Splits by scaffold, size and time, and the folds of a cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

from molequi.datasets.chosen_splits import fold_split, ordered_split, scaffold_groups, times
from molequi.datasets.drawing import drawn
from molequi.datasets.labelled_set import LabelledSet
from molequi.datasets.making import make_frames
from molequi.datasets.report import describe_frames
from molequi.datasets.settings import SplitSettings
from molequi.errors import UserError

SIZES = {"train": 0.6, "valid": 0.2, "test": 0.2}
SMILES = ("Cc1ccccc1", "OCc1ccccc1", "C1CCCCC1N", "CCO", "CCN", "c1ccc(CCc2ccccc2)cc1C")


def test_scaffolds_are_those_of_bemis_and_murcko() -> None:
    groups = scaffold_groups([{"smiles": text} for text in SMILES])
    for text, group in zip(SMILES, groups, strict=True):
        scaffold = MurckoScaffold.GetScaffoldForMol(Chem.MolFromSmiles(text))
        if scaffold.GetNumAtoms():
            assert Chem.CanonSmiles(group) == Chem.MolToSmiles(scaffold)
    assert groups[0] == groups[1] == "c1ccccc1"
    assert len(set(groups)) == 5  # two chains share nothing
    mirror = scaffold_groups([{"smiles": "C[C@H]1CCCO1"}, {"smiles": "C[C@@H]1CCCO1"}])
    assert mirror[0] == mirror[1]
    with pytest.raises(UserError, match="needs SMILES"):
        scaffold_groups([{"smiles": "C"}, {}])


def test_the_largest_values_are_tested() -> None:
    values = [float(value) for value in np.random.default_rng(0).integers(0, 20, 50)]
    parts = ordered_split(values, SIZES, seed=1)
    found = [torch.tensor(values)[rows] for rows in parts.values()]
    assert [len(part) for part in found] == [30, 10, 10]
    assert found[0].max() <= found[1].min() <= found[1].max() <= found[2].min()
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(50))
    few = ordered_split(values, {"train": 5, "valid": 4, "test": 3}, seed=1)
    assert sorted(values)[:5] == sorted(torch.tensor(values)[few["train"]].tolist())
    assert sorted(values)[-3:] == sorted(torch.tensor(values)[few["test"]].tolist())


def test_dates_and_years_have_one_order() -> None:
    cells = [{"date": text} for text in ("2024-07-01", "01.02.2024", "2023", "2024-12")]
    assert np.argsort(times(cells, "date")).tolist() == [2, 1, 0, 3]
    with pytest.raises(UserError, match="'soon' is no date"):
        times([{"date": "soon"}], "date")
    with pytest.raises(UserError, match="'inf' is no date"):
        times([{"date": "inf"}, {"date": "2023"}], "date")
    compact = [{"date": text} for text in ("20250731", "20240731")]
    assert np.argsort(times(compact, "date")).tolist() == [1, 0]
    with pytest.raises(UserError, match="20250731 stands beside dates and is no year; write all"):
        times([*cells, *compact], "date")
    for cells, column in (([{"year": "1"}], "date"), ([{"year": "1"}], None), ([], "year")):
        with pytest.raises(UserError, match="data.split.column=NAME"):
            times(cells, column)


def test_every_structure_is_tested_in_one_fold() -> None:
    groups = [f"molecule {row // 3}" for row in range(40)]
    tested = []
    for fold in range(1, 6):
        parts = fold_split(groups, 5, fold, 0.1, seed=3)
        rows = {name: set(part.tolist()) for name, part in parts.items()}
        assert sum(map(len, rows.values())) == len(set.union(*rows.values())) == 40
        homes = [{groups[row] for row in part} for part in rows.values()]
        assert not (homes[0] & homes[1] or homes[1] & homes[2] or homes[0] & homes[2])
        assert 6 <= len(rows["test"]) <= 9
        assert len(rows["valid"]) == 3
        tested += sorted(rows["test"])
    assert sorted(tested) == list(range(40))
    for n_folds, fold in ((5, 6), (5, 0), (15, 1)):
        with pytest.raises(UserError, match=f"there are folds 1 to {n_folds}"):
            fold_split(groups, n_folds, fold, 0.1, seed=3)
    with pytest.raises(UserError, match=r"data\.split\.valid=70 leaves no structure for train"):
        fold_split(groups, 5, 1, 70, seed=3)


def test_sizes_beside_folds_are_named(caplog: pytest.LogCaptureFixture) -> None:
    frames = make_frames(torch.zeros(20, 3), torch.ones(20), torch.ones(20))
    loaded = LabelledSet(frames, describe_frames(frames, "x"))
    words = ["data.split.train=5 has no meaning beside folds"]
    for given, said in (({"train": 5}, words), ({}, [])):
        caplog.clear()
        drawn(SplitSettings(folds=4, valid=3, **given), loaded)
        assert [text.partition(":")[0] for text in caplog.messages] == said
