"""Streaming errors: sums and counts that add up over batches and processes.

Every component of a vector or tensor counts once; NaN targets count nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from molequi.properties import Property, part_names
from molequi.training.parts import split_parts

# The last entry is a maximum; the others are sums.
_N_SUMS = 6


@dataclasses.dataclass
class ErrorSums:
    """Sums of the errors of one property.

    centre: number near the mean of the targets; it keeps the variance exact for totals of thousands
    of eV.
    values: (7,), float64: count, sum |e|, sum e², sum (y - centre), sum (y - centre)², sum of
    baseline |e|, max |e|.
    """

    centre: float = 0.0
    values: Tensor = dataclasses.field(
        default_factory=lambda: torch.zeros(_N_SUMS + 1, dtype=torch.float64)
    )

    def add(self, prediction: Tensor, target: Tensor, baseline: Tensor | None = None) -> None:
        """Count the entries of `target` that are not NaN.

        All arguments have one shape. baseline: what a fair guess predicts.
        """
        known = ~torch.isnan(target)
        expected = target[known].to(torch.float64)
        if not len(expected):
            return
        error = (prediction.detach()[known].to(torch.float64) - expected).abs()
        centred = expected - self.centre
        guess = (
            error.new_tensor(math.nan)
            if baseline is None
            else (baseline.expand_as(target)[known] - expected).abs().sum()
        )
        sums = torch.stack(
            [
                error.new_tensor(float(len(error))),
                error.sum(),
                error.square().sum(),
                centred.sum(),
                centred.square().sum(),
                guess,
            ]
        )
        self.values = self.values.to(sums.device)
        self.values[:_N_SUMS] += sums
        self.values[_N_SUMS] = torch.maximum(self.values[_N_SUMS], error.max())

    def result(self) -> dict[str, float | int | None]:
        """Return mae, rmse, max, r2, count and baseline_mae.

        None where nothing was counted or a value is undefined.
        """
        count, absolute, squared, shifted, shifted_squared, guess, largest = self.values.tolist()
        if count == 0:
            return {**dict.fromkeys(("mae", "rmse", "max", "r2", "baseline_mae")), "count": 0}
        variance = shifted_squared - shifted * shifted / count
        has_variance = variance > 1e-12 * max(shifted_squared, 1e-300)
        result = {
            "mae": absolute / count,
            "rmse": math.sqrt(squared / count),
            "max": largest,
            "r2": 1.0 - squared / variance if has_variance else None,
            "count": int(count),
            "baseline_mae": guess / count,
        }
        return {
            name: value if value is not None and math.isfinite(value) else None
            for name, value in result.items()
        }


@dataclasses.dataclass(frozen=True)
class EpochSummary:
    """What an epoch gave.

    train: mean loss of each term. valid: errors by metric name, as `ErrorSums.result` gives them.
    score: of the validation, the smaller the better.
    """

    epoch: int
    step: int
    seconds: float
    learning_rate: float
    train: Mapping[str, float]
    valid: Mapping[str, Mapping[str, Any]]
    score: float
    is_best: bool


def add_across_processes(sums: Mapping[str, ErrorSums]) -> None:
    """Add up what the processes of a distributed run have counted, in place.

    Nothing happens in a single process.
    """
    if not sums or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    device = next(iter(sums.values())).values.device
    table = torch.stack([entry.values.to(device) for entry in sums.values()])
    totals, largest = table[:, :_N_SUMS].contiguous(), table[:, _N_SUMS].contiguous()
    torch.distributed.all_reduce(totals)
    torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
    for entry, row, value in zip(sums.values(), totals, largest, strict=True):
        entry.values = torch.cat([row, value[None]])


def metric_names(rows: Sequence[Property]) -> list[str]:
    """Return the names under which errors are counted.

    Each row, per atom beside the totals that have references, and each part of a tensor.
    """
    names: list[str] = []
    for row in rows:
        names += (
            [row.name, f"{row.name}_per_atom"]
            if row.has_reference
            else dict.fromkeys([row.name, *part_names(row)])
        )
    return names


def add_errors(
    errors: Mapping[str, ErrorSums],
    rows: Sequence[Property],
    predictions: Mapping[str, Tensor],
    targets: Mapping[str, Tensor],
    n_atoms: Tensor,
) -> None:
    """Count the errors of a batch. Yes/no labels are compared as probabilities. n_atoms: (B,)."""
    for row in rows:
        prediction = predictions[row.name].sigmoid() if row.binary else predictions[row.name]
        errors[row.name].add(prediction, targets[row.name])
        if row.has_reference:
            errors[f"{row.name}_per_atom"].add(prediction / n_atoms, targets[row.name] / n_atoms)
        if len(part_names(row)) > 1:
            labels = split_parts(row, targets[row.name])
            for name, part in split_parts(row, prediction).items():
                errors[name].add(part, labels[name])
