"""Figures: drawn from whatever a run can give, and the curves are where the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from molequi.plots import learning_curve, parity


def ink(path) -> np.ndarray:
    """Where a picture is not white, as booleans."""
    return (imread(path)[..., :3] < 0.98).any(axis=2)


def test_learning_curve_bears_gaps_and_single_epochs(tmp_path):
    losses = {"energy": [1.0, 0.5, 0.2], "forces": [2.0, 1.0, 0.4]}
    learning_curve(
        [0, 1, 2],
        losses,
        {"forces MAE (eV/Å)": [None, 0.2, 0.1], "dipole MAE (e·Å)": [None] * 3},
        tmp_path / "plots" / "curve.png",
    )
    learning_curve([0], {"energy": [0.0]}, {}, tmp_path / "one.png")
    learning_curve([], {}, {}, tmp_path / "none.png")
    assert ink(tmp_path / "plots" / "curve.png").mean() > ink(tmp_path / "none.png").mean() > 0.01


@pytest.mark.parametrize("n_points", [50, 6000])
def test_parity_marks_points_on_the_diagonal_only_where_they_agree(tmp_path, n_points):
    x = np.linspace(-1.0, 1.0, n_points)
    parity(x, x, "dipole", "e·Å", tmp_path / "good.png", note="MAE 0")
    parity(x, -x, "dipole", "e·Å", tmp_path / "bad.png")
    good, bad = (ink(tmp_path / f"{name}.png") for name in ("good", "bad"))
    # The antidiagonal, top left to bottom right, is drawn only for the wrong predictions.
    height, width = good.shape
    centre = (
        slice(int(0.40 * height), int(0.46 * height)),
        slice(int(0.40 * width), int(0.52 * width)),
    )
    assert bad[centre].sum() > good[centre].sum()


def test_parity_leaves_missing_values_out_and_needs_no_points(tmp_path):
    parity(
        np.array([1.0, np.nan, 3.0]),
        np.array([1.1, 2.0, np.nan]),
        "gap",
        "eV",
        tmp_path / "one.png",
    )
    parity(np.array([]), np.array([]), "gap", "1", tmp_path / "none.png")
    assert (tmp_path / "one.png").stat().st_size > 1000
    assert (tmp_path / "none.png").stat().st_size > 1000
