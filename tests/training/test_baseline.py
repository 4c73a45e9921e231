"""The fair guess beside every error."""

from __future__ import annotations

import torch

from molequi.properties import PROPERTIES
from molequi.training.baseline import baseline_prediction, fit_baseline


def test_baselines_are_composition_mean_and_zero(toy_frames):
    frames = toy_frames(12)
    energy = fit_baseline(frames, PROPERTIES["energy"])
    guess = baseline_prediction(frames, PROPERTIES["energy"], energy)
    assert float((guess - frames.targets["energy"]).mean().abs()) < 1e-6
    assert torch.isnan(baseline_prediction(frames, PROPERTIES["energy"], {"1": -13.0})).all()
    assert fit_baseline(frames, PROPERTIES["dipole"]) == {}
    assert float(baseline_prediction(frames, PROPERTIES["dipole"], {}).abs().max()) == 0
