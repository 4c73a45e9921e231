"""Streaming errors agree with the direct formulas, however the data are cut."""

from __future__ import annotations

import math

import pytest
import torch

from molequi.training.metrics import ErrorSums, add_across_processes


def test_pieces_add_up_to_the_direct_formulas():
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(50, 3, generator=generator, dtype=torch.float64) - 11000.0
    prediction = target + 0.1 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    baseline = torch.full_like(target, -11000.0)
    target[7] = math.nan
    target[9, 1] = math.nan
    sums = ErrorSums(centre=-11000.0)
    for rows in (slice(0, 8), slice(8, 9), slice(9, 50)):
        sums.add(prediction[rows], target[rows], baseline[rows])
    known = ~torch.isnan(target)
    error = (prediction - target)[known]
    result = sums.result()
    assert result["count"] == int(known.sum()) == 146
    assert result["mae"] == pytest.approx(float(error.abs().mean()), rel=1e-12)
    assert result["rmse"] == pytest.approx(float(error.square().mean().sqrt()), rel=1e-12)
    assert result["max"] == pytest.approx(float(error.abs().max()), rel=1e-12)
    assert result["r2"] == pytest.approx(
        float(1 - error.square().sum() / (target[known] - target[known].mean()).square().sum()),
        rel=1e-9,
    )
    assert result["baseline_mae"] == pytest.approx(
        float((target[known] + 11000.0).abs().mean()), rel=1e-12
    )


def test_variance_of_large_totals_survives_without_a_centre():
    target = (
        torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.2
        - 4209.0
    )
    sums = ErrorSums()
    sums.add(target + 0.01, target)
    assert sums.result()["r2"] == pytest.approx(
        1 - 1e-4 / float(target.var(correction=0)), abs=1e-5
    )


def test_nothing_counted_and_constant_targets_are_undefined_not_wrong():
    sums = ErrorSums()
    sums.add(torch.zeros(3), torch.full((3,), math.nan))
    assert sums.result() == {
        "mae": None,
        "rmse": None,
        "max": None,
        "r2": None,
        "count": 0,
        "baseline_mae": None,
    }
    sums.add(torch.ones(3), torch.full((3,), 2.0))
    assert sums.result()["r2"] is None
    assert sums.result()["mae"] == 1.0
    assert sums.result()["baseline_mae"] is None


def test_a_nan_prediction_is_counted_and_shows():
    sums = ErrorSums()
    sums.add(torch.tensor([math.nan, 1.0]), torch.tensor([1.0, 1.0]))
    assert sums.result()["count"] == 2
    assert sums.result()["mae"] is None


def test_single_process_needs_no_communication():
    sums = {"energy": ErrorSums()}
    sums["energy"].add(torch.ones(2), torch.zeros(2), torch.zeros(2))
    before = sums["energy"].values.clone()
    add_across_processes(sums)
    assert torch.equal(before, sums["energy"].values)
