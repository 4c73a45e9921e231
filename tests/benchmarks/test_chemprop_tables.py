"""The comparison with chemprop: its measures by scikit-learn, and intervals that hold them."""

from __future__ import annotations

import numpy as np
import pytest
from chemprop_tables import compare, markdown, misordered

LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1] * 10, dtype=float)


def answers(noise: float, seed: int) -> dict[str, object]:
    found = LABELS + noise * np.random.default_rng(seed).normal(size=len(LABELS))
    return {"predictions": found.tolist(), "epochs": 3, "seconds": 60.0}


def test_misordered_is_one_less_the_area_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    found = np.round(np.array(answers(1.0, 0)["predictions"]), 1)  # ties, too
    expected = 1 - metrics.roc_auc_score(LABELS, found)
    assert misordered(LABELS, found) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("task", "measure"), [("logP", "MAE"), ("drug_like", "1 - ROC-AUC")])
def test_intervals_hold_the_errors_and_tell_a_worse_program(task: str, measure: str) -> None:
    row = compare(task, LABELS, {"ours": answers(0.4, 1), "chemprop": answers(2.0, 2)})
    assert row.measure == measure
    for value, least, most in row.errors.values():
        assert least < value < most
    ours, theirs, difference = (row.errors[name] for name in ("ours", "chemprop", "difference"))
    assert difference[0] == pytest.approx(ours[0] - theirs[0])
    assert difference[2] < 0
    assert f"| {task} | {measure} |" in markdown([row])
