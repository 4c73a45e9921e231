"""A random forest on fingerprints: what a model of a property should beat, beside the mean.

It needs scikit-learn (`pip install "molequi[baseline]"`); without it there is no such baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.training.scores import yes_no_scores

try:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
except ImportError:
    RandomForestClassifier = RandomForestRegressor = None

_N_TREES = 100
# Of the bits each split looks at so many at random: as good as all of them, and much faster.
_SHARE = "sqrt"


def forest_errors(
    frames: Frames, bits: np.ndarray, splits: Mapping[str, Tensor], part: str
) -> dict[str, dict[str, Any]]:
    """Return the errors of a random forest on the part called `part` of a split, by property.

    fingerprint_mae, of a yes/no label that of its probability, and then fingerprint_roc_auc too.
    bits: fingerprints of the structures, (B, bits). Empty without scikit-learn.
    """
    if RandomForestRegressor is None:
        return {}
    errors = {}
    for name, row in frames.properties.items():
        if row.per_atom or row.shape or row.spread_of:
            continue
        values = frames.targets[name].numpy()
        train, test = (
            rows[~np.isnan(values[rows])]
            for rows in (splits[one].numpy() for one in ("train", part))
        )
        if len(train) and len(test):
            guess = _predicted(bits[train], values[train], bits[test], is_yes_no=row.binary)
            errors[name] = _errors(guess, values[test], is_yes_no=row.binary)
    return errors


def _predicted(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, *, is_yes_no: bool
) -> np.ndarray:
    if is_yes_no and len(np.unique(labels)) < 2:
        return np.full(len(asked), labels[0])
    kind = RandomForestClassifier if is_yes_no else RandomForestRegressor
    forest = kind(n_estimators=_N_TREES, max_features=_SHARE, random_state=0, n_jobs=1)
    forest.fit(known, labels)
    return forest.predict_proba(asked)[:, 1] if is_yes_no else forest.predict(asked)


def _errors(guess: np.ndarray, labels: np.ndarray, *, is_yes_no: bool) -> dict[str, Any]:
    errors: dict[str, Any] = {"fingerprint_mae": float(np.abs(guess - labels).mean())}
    if is_yes_no:
        errors["fingerprint_roc_auc"] = yes_no_scores(guess, labels > 0.5)["roc_auc"]
    return errors
