"""The fair guess that stands beside every error: what the training set knows without a network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.graphs.elements import N_ELEMENTS
from molequi.properties import Property
from molequi.training.reference_energies import composition, fit_references, nearest_prior


def fit_baseline(frames: Frames, row: Property) -> dict[str, float]:
    """Return what a fair guess knows of the training set, as plain data for `baseline_prediction`.

    Composition least squares for totals with references (`{"6": eV, ...}`), the mean for other
    scalars (`{"mean": ...}`), nothing for the rest.
    """
    values = frames.targets[row.name]
    if row.has_reference:
        fitted = fit_references(frames, values, around=nearest_prior(frames, values, row.unit))
        return {str(number): float(fitted.values[number]) for number in frames.elements()}
    if row.is_invariant:
        return {"mean": float(values.nanmean())}
    # Without knowing the hand, both labels are as likely.
    return {"mean": 0.5} if row.binary else {}


def baseline_prediction(frames: Frames, row: Property, baseline: Mapping[str, float]) -> Tensor:
    """Return the guess for each value of `row`, shaped as its target in `frames`.

    NaN for compositions the guess knows nothing of.
    """
    if row.has_reference:
        table = torch.full((N_ELEMENTS,), torch.nan, dtype=torch.float64)
        for number, value in baseline.items():
            table[int(number)] = value
        counts, elements = composition(frames)
        return counts @ table[elements]
    return torch.full_like(frames.targets[row.name], baseline.get("mean", 0.0))
