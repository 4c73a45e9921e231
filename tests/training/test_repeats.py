"""Folds and repeats: complete configs of single runs, mean and spread of what they gave."""

from __future__ import annotations

import statistics

import pytest

from molequi.training.config import make_config
from molequi.training.repeats import is_repeated, single_runs, summary


def config(**training: object):
    return make_config(
        {"name": "x", "data": {"kind": "qm9", "targets": ["gap"]}, "training": training}
    )


def test_single_runs_differ_in_fold_and_seed_alone():
    whole = config(folds=2, repeats=2, seed=5)
    runs = single_runs(whole)
    assert list(runs) == ["fold_1_seed_5", "fold_1_seed_6", "fold_2_seed_5", "fold_2_seed_6"]
    one = runs["fold_2_seed_6"]
    assert (one.data.split.folds, one.data.split.fold, one.training.seed) == (2, 2, 6)
    assert is_repeated(whole)
    assert not is_repeated(one)
    assert list(single_runs(config(folds=3))) == ["fold_1", "fold_2", "fold_3"]
    assert list(single_runs(config(repeats=2))) == ["seed_0", "seed_1"]
    assert single_runs(config(repeats=2))["seed_1"].data.split.folds is None
    assert make_config(one.model_dump(mode="json")) == one


def test_summary_is_mean_and_standard_deviation():
    maes = [0.5, 0.7, 0.9]
    results = [
        {"gap": {"mae": mae, "unit": "eV", "count": 10, "r2": None if mae > 0.8 else 0.1}}
        for mae in maes
    ]
    row = summary(results)["gap"]
    assert (row["unit"], row["runs"], row["count"]) == ("eV", 3, 30)
    assert row["mae"] == pytest.approx(0.7)
    assert row["mae_std"] == pytest.approx(statistics.stdev(maes))
    assert (row["r2"], row["r2_std"]) == (None, None)
    assert summary(results[:1])["gap"]["mae_std"] is None
