"""A suite as a picture: energies of the model over those of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molequi import plots
from molequi.runtime.wording import counted


def plot_suite(name: str, found: Mapping[str, Any], path: Path) -> None:
    """Draw what `suite_scores.evaluate_suite` returned for a suite, in kcal/mol."""
    if found["kind"] == "reactions":
        rows = found["reactions"]
        reference, model = (np.array([row[key] for row in rows]) for key in ("reference", "model"))
        note = f"MAE {found['mae']:.2f}, mean signed {found['mean_signed_error']:+.2f}"
        label, what = "energy", "reaction"
    else:
        rows = found["molecules"]
        reference, model = (
            np.concatenate([row[key] for row in rows]) for key in ("reference", "model")
        )
        note = (
            f"median Spearman {_words(found['spearman_median'])}\n"
            f"median centred MAE {found['centred_mae_median']:.2f}"
        )
        label, what = "energy, centred", "molecule"
    note = f"{name}\n{note} {found['unit']}\n{counted(found['count'], what)}"
    plots.parity(reference, model, label, found["unit"], path, note=note)


def _words(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
