"""Ridge regression on fingerprints: a linear model, a sum over the pieces of a molecule.

A. E. Hoerl and R. W. Kennard, Technometrics 12, 55 (1970).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

# Penalties that are tried on every fifth molecule, which the others predict.
_PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_FOLD = 5
_ROWS = 8192  # of bits that are floats at a time


def ridge_guess(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, *, is_yes_no: bool
) -> np.ndarray:
    """Return what a ridge regression on known fingerprints says of those that are asked: (Q,).

    known: (B, bits) of 0 and 1, with labels (B,). asked: (Q, bits). Of yes/no labels, 0 and 1, the
    guess is cut to that range.
    """
    held = np.arange(len(known)) % _FOLD == _FOLD - 1
    best = _PENALTIES[len(_PENALTIES) // 2]
    if held.any():
        trials = _predicted(known[~held], labels[~held], known[held], _PENALTIES)
        errors = [np.abs(trial - labels[held]).mean() for trial in trials]
        best = _PENALTIES[int(np.argmin(errors))]
    (guess,) = _predicted(known, labels, asked, (best,))
    return np.clip(guess, 0.0, 1.0) if is_yes_no else guess


def _predicted(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, penalties: tuple[float, ...]
) -> list[np.ndarray]:
    """Return the predictions for each penalty: w = (X^T X + penalty)^-1 X^T y, both centred."""
    n_bits, mean = known.shape[1], known.mean(axis=0)
    gram, moment = np.zeros((n_bits, n_bits)), np.zeros(n_bits)
    for start in range(0, len(known), _ROWS):
        rows = slice(start, start + _ROWS)
        centred = known[rows] - mean
        gram += centred.T @ centred
        moment += centred.T @ (labels[rows] - labels.mean())
    found = []
    for penalty in penalties:
        factor = cho_factor(gram + penalty * np.eye(n_bits), lower=True)
        found.append((asked - mean) @ cho_solve(factor, moment) + labels.mean())
    return found
