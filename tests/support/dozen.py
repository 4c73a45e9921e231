"""A dozen molecules with labels, and settings of estimators that train on them in a second."""

from __future__ import annotations

from typing import Any

SMILES = ["C", "CC", "CCC", "CCCC", "CCO", "CO", "CCCO", "O", "CC(C)O", "CCOC", "C=C", "CC=C"]
HEAVY = [1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 4.0, 1.0, 4.0, 4.0, 2.0, 3.0]  # atoms beside hydrogen
OXYGEN = ["yes" if "O" in text else "no" for text in SMILES]
QUICK: dict[str, Any] = {
    "epochs": 2,
    "overrides": ("model.n_channels=8", "model.n_layers=1", "model.l_max=1"),
}
