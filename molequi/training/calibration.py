"""How far a model's doubt can be trusted: calibration on held-out structures, and its test."""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.doubt import SHARE, SHARES
from molequi.training.doubt import doubt_heads, squared_sizes

logger = logging.getLogger(__name__)

# Fewer errors than these tell nothing of the spread of spreads: then one factor must do.
_ENOUGH_FOR_A_POWER = 100


class Doubted(NamedTuple):
    """Sizes of errors (n,) and the spreads (n,) that were expected of them, in one unit."""

    errors: Tensor
    spreads: Tensor


class Calibration(NamedTuple):
    """sigma = factor s^power, and the largest error of each of `SHARES` in units of sigma, (4,)."""

    factor: float
    power: float
    quantiles: Tensor


def fit_calibration(doubted: Doubted) -> Calibration:
    """Return the power law after which `SHARE` of the errors are smaller than their spread.

    If errors are spreads times a random factor of one distribution, log |e| is power log s and a
    constant, on average: least squares finds the power. It is kept between 0, where the spreads
    mean nothing, and 2. The factor and the quantiles then are counted, whatever the distribution.
    """
    errors, spreads = doubted
    power = 1.0
    if len(errors) >= _ENOUGH_FOR_A_POWER:
        log_errors, log_spreads = errors.clamp(min=1e-12).log(), spreads.log()
        centred = log_spreads - log_spreads.mean()
        slope = (centred * log_errors).sum() / centred.square().sum().clamp(min=1e-12)
        power = min(max(float(slope), 0.0), 2.0)
    ratios = errors / spreads**power
    factor = max(float(torch.quantile(ratios, SHARE)), 1e-12)
    shares = torch.tensor(SHARES, dtype=ratios.dtype)
    return Calibration(factor, power, torch.quantile(ratios, shares) / factor)


def calibrate(model: MolecularModel, deviations: Mapping[str, Doubted]) -> None:
    """Set the calibration of each spread of a model that has none, in place.

    Spreads without known errors stay without.

    deviations: on held-out structures, of the model without calibration.
    """
    for name, head in doubt_heads(model).items():
        if head.is_calibrated or name not in deviations or not len(deviations[name].errors):
            continue
        scale = float(head.scale[0])
        found = fit_calibration(Doubted(*(values / scale for values in deviations[name])))
        head.set_calibration(found.factor, found.power, found.quantiles)
        logger.info(
            "%s: calibrated on %d held-out errors, factor %.3g, power %.3g",
            name,
            len(deviations[name].errors),
            found.factor,
            found.power,
        )


def without_calibration(model: MolecularModel) -> MolecularModel:
    """Return a copy whose spreads are those that training gave."""
    model = copy.deepcopy(model)
    for head in doubt_heads(model).values():
        head.reset(has_labels=bool(head.has_labels))
    return model


def against_labels(model: MolecularModel) -> MolecularModel:
    """Return a copy whose spreads are those of its deviation from labels.

    They leave out how far the labels themselves may be off, which labels cannot show.
    """
    model = copy.deepcopy(model)
    for head in doubt_heads(model).values():
        head.has_labels.zero_()
    return model


def spread_names(model: MolecularModel, compared: Collection[str]) -> list[str]:
    """Name the spreads that a model gives of the properties `compared`."""
    heads = doubt_heads(model)
    return [name for name, head in heads.items() if head.target.spread_of in compared]


def doubted_errors(
    model: MolecularModel, predictions: Mapping[str, Tensor], frames: Frames
) -> dict[str, Doubted]:
    """Pair the known errors of predictions with the spreads among them, by the spread's name."""
    pairs = {}
    for name, head in doubt_heads(model).items():
        of = head.target.spread_of
        if of not in frames.targets or name not in predictions:
            continue
        squared = squared_sizes(predictions[of] - frames.targets[of])
        known = ~torch.isnan(squared)
        pairs[name] = Doubted(squared[known].sqrt(), predictions[name][known])
    return pairs


def judge(model: MolecularModel, name: str, doubted: Doubted) -> dict[str, Any]:
    """Return how a spread did: {unit, count, coverage, rank_correlation, mean_spread, of}.

    coverage: by nominal share in per cent, the share of the errors within the radius that is meant
    to hold it; None where the model was never calibrated. rank_correlation: Spearman's, of the
    sizes of the errors and the spreads; None where all of one side are equal.
    """
    head = doubt_heads(model)[name]
    errors, spreads = doubted
    radii = spreads[:, None] * head.quantiles.to(spreads)
    held = (errors[:, None] <= radii).to(torch.float64).mean(dim=0)
    is_known = len(errors) > 0 and head.is_calibrated
    return {
        "unit": head.target.unit,
        "count": len(errors),
        "spread_of": head.target.spread_of,
        "mean_spread": float(spreads.mean()) if len(errors) else None,
        "rank_correlation": _rank_correlation(doubted),
        "coverage": {
            f"{100 * share:.0f}": float(value) if is_known else None
            for share, value in zip(SHARES, held, strict=True)
        },
    }


def _rank_correlation(doubted: Doubted) -> float | None:
    """Return Spearman's correlation; None where all values of one side are equal: no order."""
    if any(len(values) < 2 or bool((values == values[0]).all()) for values in doubted):
        return None
    return float(spearmanr(*doubted).statistic)
