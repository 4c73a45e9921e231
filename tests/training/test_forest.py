"""A random forest on fingerprints learns what the mean does not know."""

from __future__ import annotations

import pytest
import torch

from molequi.datasets.fingerprints import fingerprints
from molequi.datasets.making import make_frames
from molequi.properties import PROPERTIES, declare
from molequi.training.forest import forest_errors

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
    errors = forest_errors(frames, fingerprints(smiles), splits, "test")
    assert errors["alcohol"]["fingerprint_roc_auc"] == 1.0
    assert errors["alcohol"]["fingerprint_mae"] < 0.25
    assert errors["gap"]["fingerprint_mae"] < 0.75  # the mean has 1.5
    assert errors == forest_errors(frames, fingerprints(smiles), splits, "test")
