"""A random forest on fingerprints, which finds what pieces of a molecule mean together.

It needs scikit-learn (`pip install "molequi[baseline]"`); without it there is no such guess.
"""

from __future__ import annotations

import numpy as np

try:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
except ImportError:
    RandomForestClassifier = RandomForestRegressor = None

_N_TREES = 100
# Of the bits each split looks at so many at random: as good as all of them, and much faster.
_SHARE = "sqrt"


def forest_guess(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, *, is_yes_no: bool
) -> np.ndarray | None:
    """Return what a forest says of the fingerprints asked: (Q,); None without scikit-learn.

    known: (B, bits) with labels (B,). asked: (Q, bits). Of a yes/no label it is the probability.
    """
    if RandomForestRegressor is None:
        return None
    if is_yes_no and len(np.unique(labels)) < 2:
        return np.full(len(asked), labels[0])
    kind = RandomForestClassifier if is_yes_no else RandomForestRegressor
    forest = kind(n_estimators=_N_TREES, max_features=_SHARE, random_state=0, n_jobs=1)
    forest.fit(known, labels)
    found = forest.predict_proba(asked)[:, 1] if is_yes_no else forest.predict(asked)
    return np.asarray(found)
