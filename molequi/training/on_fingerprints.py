"""What fingerprints say without a network: what a model of a property should beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.training.forest import forest_guess
from molequi.training.ridge import ridge_guess
from molequi.training.scores import yes_no_scores

_Labelled = tuple[np.ndarray, np.ndarray]  # fingerprints (N, bits), labels (N,)
# By the names of their errors, such as `fingerprint_mae`.
_METHODS = {"fingerprint": forest_guess, "ridge": ridge_guess}


def fingerprint_errors(
    frames: Frames, bits: np.ndarray, splits: Mapping[str, Tensor], part: str
) -> dict[str, dict[str, Any]]:
    """Return the errors of guesses from fingerprints on the part called `part`, by property.

    fingerprint_mae of a random forest (with scikit-learn) and ridge_mae of a ridge regression, of
    yes/no labels those of their probabilities and roc_auc too.
    bits: fingerprints of the structures, (B, bits).
    """
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
            known, asked = (bits[train], values[train]), (bits[test], values[test])
            errors[name] = _errors(known, asked, is_yes_no=row.binary)
    return errors


def _errors(known: _Labelled, asked: _Labelled, *, is_yes_no: bool) -> dict[str, Any]:
    """Return the scores of all methods, those of `ridge` as ridge_mae, ridge_roc_auc."""
    errors: dict[str, Any] = {}
    for method, guess in _METHODS.items():
        scores = _scores(
            guess(*known, asked[0], is_yes_no=is_yes_no), asked[1], is_yes_no=is_yes_no
        )
        errors |= {f"{method}_{score}": value for score, value in scores.items()}
    return errors


def _scores(guess: np.ndarray | None, labels: np.ndarray, *, is_yes_no: bool) -> dict[str, Any]:
    if guess is None:
        return {}
    scores: dict[str, Any] = {"mae": float(np.abs(guess - labels).mean())}
    if is_yes_no:
        scores["roc_auc"] = yes_no_scores(guess, labels > 0.5)["roc_auc"]
    return scores
