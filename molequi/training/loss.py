"""Losses as sums and counts: they add up over molecules, batches and processes.

Each irrep part of a target (`training.parts`) is compared in units of its own scale
(`normalization.Statistics.loss_scales`; energies per atom), so that weights are pure numbers. The
loss of a batch is sum_t w_t S_t / n_t / sum_t w_t with S_t the sum of the Huber losses of part t
over its n_t known components (P. J. Huber, Ann. Math. Stat. 35 (1964) 73: quadratic up to `huber`,
then linear, so that wrong labels and hot frames do not rule), or of the cross-entropies of a yes/no
label. Of vectors the error's length may be taken in the place of its components, one number for
each vector: the loss then does not depend on the axes, where components beyond `huber` would.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from molequi.graphs.graph import AtomGraph
from molequi.properties import Property, part_names
from molequi.training.parts import split_parts
from molequi.training.settings import TrainingSettings


class Objective:
    """The loss terms of the targets `rows`, one for each irrep part.

    scales: by the name of the part, in the target's unit. huber: in units of the scale; None is the
    squared error alone, and the length itself. lengths: targets, all of them vectors, of which the
    error's length counts. names: of the terms.
    """

    def __init__(
        self,
        rows: Sequence[Property],
        scales: Mapping[str, float],
        *,
        huber: float | None = 1.0,
        lengths: Collection[str] = (),
    ) -> None:
        self.rows, self.huber, self.lengths = tuple(rows), huber, frozenset(lengths)
        self.names = tuple(name for row in rows for name in part_names(row))
        self.scales = {name: float(scales[name]) for name in self.names}

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Return the number of known components, or vectors, of each term: (T,), float64."""
        return torch.stack(
            [
                (~torch.isnan(self._compared(row, part))).sum().to(torch.float64)
                for row in self.rows
                for part in split_parts(row, targets[row.name]).values()
            ]
        )

    def sums(
        self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], graph: AtomGraph
    ) -> Tensor:
        """Return the sum of the losses of each term: (T,), float64, differentiable."""
        return torch.stack(
            [
                term
                for row in self.rows
                for term in self._sums(row, predictions[row.name], targets[row.name], graph)
            ]
        )

    def not_finite(self, sums: Tensor) -> list[str]:
        """Return the names of the terms whose sum is not a finite number."""
        terms = zip(self.names, sums.detach(), strict=True)
        return [name for name, value in terms if not torch.isfinite(value)]

    def weights(self, weights: Mapping[str, float], device: torch.device | None = None) -> Tensor:
        """Return the weight of each term, adding up to 1: (T,), float64.

        `weights` as in `by_term`.
        """
        values = torch.tensor(
            list(self.by_term(weights).values()), dtype=torch.float64, device=device
        )
        return values / values.sum()

    def by_term(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return the weight of each term, see `term_weights`."""
        return term_weights(self.rows, weights)

    def score(
        self, results: Mapping[str, Mapping[str, Any]], weights: Mapping[str, float]
    ) -> float:
        """Return the mean over terms of MAE / scale, weighted; `weights` as in `by_term`.

        Per atom for energies; infinite where an error is not finite, or nothing has a label.
        """
        total, weight_sum = 0.0, 0.0
        for name, weight in self.by_term(weights).items():
            result = results.get(f"{name}_per_atom", results[name])
            mae = math.inf if result["count"] and result["mae"] is None else result["mae"]
            if mae is not None:
                total += weight * mae / self.scales[name]
                weight_sum += weight
        return total / weight_sum if weight_sum else math.inf

    def _sums(
        self, row: Property, prediction: Tensor, target: Tensor, graph: AtomGraph
    ) -> list[Tensor]:
        known = ~torch.isnan(target)
        if row.binary:
            loss = functional.binary_cross_entropy_with_logits(
                prediction.to(torch.float64), torch.where(known, target, 0.0), reduction="none"
            )
            return [torch.where(known, loss, 0.0).sum()]
        error = prediction.to(torch.float64) - target
        if row.has_reference:
            error = error / atom_counts(graph).clamp(min=1)
        # A tensor of which a component is missing has no known part.
        labels, errors = split_parts(row, target), split_parts(row, error)
        sizes = []
        for name, label in labels.items():
            unknown = torch.isnan(label)
            if row.name in self.lengths:
                unknown = unknown.any(dim=-1, keepdim=True)
            error = torch.where(unknown, 0.0, errors[name]) / self.scales[name]
            sizes.append(self._size(row, self._compared(row, error)).sum())
        return sizes

    def _compared(self, row: Property, values: Tensor) -> Tensor:
        """Return what is compared: components, or lengths (..., 3) -> (...)."""
        return torch.linalg.vector_norm(values, dim=-1) if row.name in self.lengths else values

    def _size(self, row: Property, error: Tensor) -> Tensor:
        if self.huber is None:
            return error if row.name in self.lengths else error.square()
        return 2.0 * functional.huber_loss(
            error, torch.zeros_like(error), reduction="none", delta=self.huber
        )


def term_weights(rows: Iterable[Property], weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each irrep part of the targets `rows`.

    Its own, else an equal share of that of its target, which is 1 where `weights` names none.
    """
    shares: dict[str, float] = {}
    for row in rows:
        names = part_names(row)
        shares |= {
            name: float(weights.get(name, weights.get(row.name, 1.0) / len(names)))
            for name in names
        }
    return shares


def make_objective(
    rows: Sequence[Property], scales: Mapping[str, float], settings: TrainingSettings
) -> Objective:
    """Return the objective that the settings describe."""
    lengths = ["forces"] if settings.force_loss == "norm" else []
    return Objective(rows, scales, huber=settings.huber, lengths=lengths)


def atom_counts(graph: AtomGraph) -> Tensor:
    """Return the number of atoms of each molecule: (B,), float64."""
    # A count of equal numbers would wait for a GPU to tell the largest.
    ones = torch.ones_like(graph.batch, dtype=torch.float64)
    return ones.new_zeros(graph.n_molecules).index_add(0, graph.batch, ones)
