"""Scores agree with scipy's and scikit-learn's, ties and lopsided labels included."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from molequi.properties import PROPERTIES, declare
from molequi.training.scores import scores, spearman, yes_no_scores

TOXIC = declare("toxic", unit="1", binary=True)


def cases():
    rng = np.random.default_rng(3)
    for n_labels, share, digits in ((7, 0.5, 8), (60, 0.1, 1), (200, 0.9, 2), (50, 0.5, 0)):
        is_yes = rng.random(n_labels) < share
        is_yes[:2] = True, False
        yield np.clip(0.4 * is_yes + 0.6 * rng.random(n_labels), 0, 1).round(digits), is_yes


def test_yes_no_scores_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    for probability, is_yes in cases():
        told = probability >= 0.5
        assert yes_no_scores(probability, is_yes) == pytest.approx(
            {
                "roc_auc": metrics.roc_auc_score(is_yes, probability),
                "pr_auc": metrics.average_precision_score(is_yes, probability),
                "mcc": metrics.matthews_corrcoef(is_yes, told),
                "balanced_accuracy": metrics.balanced_accuracy_score(is_yes, told),
            },
            abs=1e-12,
        )


def test_area_under_the_curve_is_mann_whitneys_statistic():
    for probability, is_yes in cases():
        statistic = stats.mannwhitneyu(probability[is_yes], probability[~is_yes]).statistic
        expected = statistic / (is_yes.sum() * (~is_yes).sum())
        assert yes_no_scores(probability, is_yes)["roc_auc"] == pytest.approx(expected, abs=1e-12)


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(4)
    for digits in (8, 1, 0):
        first = rng.normal(size=80).round(digits)
        second = (first + rng.normal(size=80)).round(digits)
        expected = stats.spearmanr(first, second).statistic
        assert spearman(first, second) == pytest.approx(expected, abs=1e-12)


def test_what_is_not_defined_is_none():
    assert set(yes_no_scores(np.array([0.2, 0.8]), np.array([True, True])).values()) == {None}
    assert spearman(np.zeros(3), np.arange(3.0)) is None
    assert spearman(np.zeros(1), np.zeros(1)) is None
    alike = yes_no_scores(np.full(4, 0.7), np.array([True, False, True, False]))
    assert alike == {"balanced_accuracy": 0.5, "roc_auc": 0.5, "pr_auc": 0.5, "mcc": 0.0}


def test_scalars_have_scores_and_unknown_labels_count_nothing():
    target = np.array([1.0, 0.0, np.nan, 0.0])
    prediction = np.array([0.9, 0.1, 0.0, 0.6])
    assert scores(TOXIC, prediction, target)["roc_auc"] == 1.0
    assert scores(PROPERTIES["gap"], prediction, target) == {
        "spearman": pytest.approx(stats.spearmanr([1, 0, 0], [0.9, 0.1, 0.6]).statistic)
    }
    assert scores(PROPERTIES["dipole"], np.zeros((2, 3)), np.zeros((2, 3))) == {}
