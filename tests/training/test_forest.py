"""A forest and a ridge regression on fingerprints learn what the mean does not know."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.datasets.fingerprints import fingerprints
from molequi.datasets.making import make_frames
from molequi.properties import PROPERTIES, declare
from molequi.training.on_fingerprints import fingerprint_errors
from molequi.training.ridge import ridge_guess

ALCOHOLS = ["C" * n + "O" for n in range(1, 13)]
AMINES = ["C" * n + "N" for n in range(1, 13)]


def test_forest_tells_alcohols_from_amines():
    pytest.importorskip("sklearn")
    smiles = [text for pair in zip(ALCOHOLS, AMINES, strict=True) for text in pair]
    n_molecules = len(smiles)
    is_alcohol = torch.tensor([float(text.endswith("O")) for text in smiles])
    labels = is_alcohol.clone()
    labels[-1] = torch.nan
    frames = make_frames(
        torch.zeros(n_molecules, 3),
        torch.ones(n_molecules, dtype=torch.int64),
        torch.ones(n_molecules, dtype=torch.int64),
        targets={"alcohol": labels, "gap": 3.0 * is_alcohol},
        properties={
            "alcohol": declare("alcohol", unit="1", binary=True),
            "gap": PROPERTIES["gap"],
        },
    )
    order = torch.arange(n_molecules)
    splits = {"train": order[:16], "valid": order[16:20], "test": order[20:]}
    errors = fingerprint_errors(frames, fingerprints(smiles), splits, "test")
    assert errors["alcohol"]["fingerprint_roc_auc"] == 1.0
    assert errors["alcohol"]["fingerprint_mae"] < 0.25
    assert errors["gap"]["fingerprint_mae"] < 0.75  # the mean has 1.5
    assert errors["alcohol"]["ridge_roc_auc"] == 1.0
    assert errors["gap"]["ridge_mae"] < 0.75
    assert errors == fingerprint_errors(frames, fingerprints(smiles), splits, "test")


@pytest.mark.parametrize("n_known", [12, 200])
def test_ridge_is_a_least_squares_problem(n_known: int) -> None:
    """Beside LAPACK's least squares of the rows and a row for each penalty."""
    random = np.random.default_rng(1)
    bits = random.integers(0, 2, (n_known + 30, 40)).astype(np.uint8)
    labels = bits[:, :5].sum(axis=1) + random.normal(size=len(bits)) / 10
    known, asked = bits[:n_known], bits[n_known:]
    guess = ridge_guess(known, labels[:n_known], asked, is_yes_no=False)
    centred, mean = known - known.mean(axis=0), labels[:n_known].mean()
    target = np.concatenate([labels[:n_known] - mean, np.zeros(40)])
    candidates = []
    for penalty in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0):
        rows = np.concatenate([centred, np.sqrt(penalty) * np.eye(40)])
        weights = np.linalg.lstsq(rows, target, rcond=None)[0]
        candidates.append((asked - known.mean(axis=0)) @ weights + mean)
    assert min(np.abs(guess - other).max() for other in candidates) < 1e-10
    if n_known == 200:
        assert np.abs(guess - labels[n_known:]).mean() < 0.12
    between = ridge_guess(known, (labels[:n_known] > 2).astype(float), asked, is_yes_no=True)
    assert (between.min() >= 0.0, between.max() <= 1.0) == (True, True)
