"""How far a model's doubt can be trusted: calibration on held-out structures, and its test."""

from __future__ import annotations

import copy
import dataclasses
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from scipy.stats import spearmanr
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.doubt import SHARE, SHARES
from molequi.training.doubt import spread_heads, squared_sizes

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


class Held(NamedTuple):
    """Structures that calibrate: the part of the split that they are, and their number."""

    part: str
    n_structures: int


def fit_calibration(doubted: Doubted) -> Calibration:
    """Return the power law after which `SHARE` of the errors are smaller than their spread.

    If errors are spreads times a random factor of one distribution, log |e| is power log s and a
    constant, on average: least squares finds the power. It is kept between 0, where the spreads
    mean nothing, and 2. The factor and the quantiles then are counted, whatever the distribution:
    see `conformal_quantiles`. What is exact with certainty, such as the force on a lone atom,
    says nothing of the others.
    """
    counts = (doubted.errors > 0) | (doubted.spreads > 0)
    errors, spreads = (values[counts] for values in doubted)
    if not len(errors):
        return Calibration(1.0, 1.0, torch.ones(len(SHARES), dtype=torch.float64))
    power = 1.0
    if len(errors) >= _ENOUGH_FOR_A_POWER:
        least = 1e-3 * float(spreads.median())
        log_errors, log_spreads = (
            errors.clamp(min=1e-12).log(),
            spreads.clamp(min=max(least, 1e-12)).log(),
        )
        centred = log_spreads - log_spreads.mean()
        slope = (centred * log_errors).sum() / centred.square().sum().clamp(min=1e-12)
        power = min(max(float(slope), 0.0), 2.0)
    ratios = errors / spreads.clamp(min=1e-12) ** power
    radii = conformal_quantiles(ratios, SHARES).clamp(min=1e-12)
    factor = float(radii[SHARES.index(SHARE)])
    return Calibration(factor, power, radii / factor)


def conformal_quantiles(ratios: Tensor, shares: Sequence[float]) -> Tensor:
    """Return for each share the ceil((n + 1) share)-th smallest of n ratios of error and spread.

    Split conformal prediction: of a new structure, exchangeable with those of the ratios, the error
    is within that radius with at least this probability, whatever the distribution (A. N.
    Angelopoulos and S. Bates, arXiv 2107.07511, section 1). Where n is too small for a share it is
    the largest.
    """
    n = len(ratios)
    ranks = [min(math.ceil((n + 1) * share), n) for share in shares]
    return ratios.sort().values[[rank - 1 for rank in ranks]]


def calibrate(model: MolecularModel, deviations: Mapping[str, Doubted], held_out: Held) -> None:
    """Set the calibration of each spread of a model that has none, in place.

    Spreads without known errors stay without. The model's record says on how many structures and
    errors it rests (`TrainingRecord.calibration`).

    deviations: on the structures `held_out`, of the model without calibration.
    """
    records = dict(model.metadata.training.calibration)
    for name, head in spread_heads(model).items():
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
        _warn_of_few(name, len(deviations[name].errors), held_out.part)
        records[name] = {
            "part": held_out.part,
            "structures": held_out.n_structures,
            "count": len(deviations[name].errors),
            "factor": found.factor,
            "power": found.power,
            "radii": {
                f"{100 * share:.0f}": radius
                for share, radius in zip(SHARES, found.quantiles.tolist(), strict=True)
            },
        }
    training = dataclasses.replace(model.metadata.training, calibration=records)
    model.metadata = dataclasses.replace(model.metadata, training=training)


def _warn_of_few(name: str, count: int, part: str) -> None:
    """Warn where the largest of so few errors must do for a share that needs a larger one."""
    short = [share for share in SHARES if math.ceil((count + 1) * share) > count]
    if short:
        least = math.ceil(max(SHARES) / (1.0 - max(SHARES)) - 1e-9)
        logger.warning(
            "%s: its size rests on %d held-out errors, too few for radii of %s %%, which are those "
            "of the largest error; with %d or more (data.split.%s) they hold",
            name,
            count,
            ", ".join(f"{100 * share:.0f}" for share in short),
            least,
            part,
        )


def without_calibration(model: MolecularModel) -> MolecularModel:
    """Return a copy whose spreads are those that training gave."""
    model = copy.deepcopy(model)
    for head in spread_heads(model).values():
        head.forget_calibration()
    return model


def against_labels(model: MolecularModel) -> MolecularModel:
    """Return a copy whose spreads are those of its deviation from labels.

    They leave out how far the labels themselves may be off, which labels cannot show.
    """
    model = copy.deepcopy(model)
    for head in spread_heads(model).values():
        head.leave_out_labels()
    return model


def spread_names(model: MolecularModel, compared: Collection[str]) -> list[str]:
    """Name the spreads that a model gives of the properties `compared`."""
    heads = spread_heads(model)
    return [name for name, head in heads.items() if head.target.spread_of in compared]


def doubted_errors(
    model: MolecularModel, predictions: Mapping[str, Tensor], frames: Frames
) -> dict[str, Doubted]:
    """Pair the known errors of predictions with the spreads among them, by the spread's name."""
    pairs = {}
    for name, head in spread_heads(model).items():
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
    head = spread_heads(model)[name]
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
