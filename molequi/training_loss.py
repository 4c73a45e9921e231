"""Losses as sums and counts: they add up over molecules, batches and processes, whatever is missing where.

Each target is compared in units of its own scale (`normalization.Statistics.loss_scale`; energies per atom), so that weights are
pure numbers. The loss of a batch is sum_t w_t S_t / n_t / sum_t w_t with S_t the sum of the Huber losses of target t over its n_t
known components (P. J. Huber, Ann. Math. Stat. 35 (1964) 73: quadratic up to `huber`, then linear, so that wrong labels and hot
frames do not rule), or of the cross-entropies of a yes/no label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from molequi.graph import AtomGraph
from molequi.properties import Property


class Objective:
    """The loss terms of the targets `rows`.

    scales: by name, in the target's unit. huber: in units of the scale; None is the squared error alone.
    """

    def __init__(self, rows: Sequence[Property], scales: Mapping[str, float], *, huber: float | None = 1.0) -> None:
        self.rows, self.huber = tuple(rows), huber
        self.scales = {row.name: float(scales[row.name]) for row in rows}
        self.names = tuple(row.name for row in rows)

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Return the number of known components of each target: (T,), float64."""
        return torch.stack([(~torch.isnan(targets[name])).sum().to(torch.float64) for name in self.names])

    def sums(self, predictions: Mapping[str, Tensor], targets: Mapping[str, Tensor], graph: AtomGraph) -> Tensor:
        """Return the sum of the losses of each target: (T,), float64, differentiable."""
        return torch.stack([self._sum(row, predictions[row.name], targets[row.name], graph) for row in self.rows])

    def weights(self, weights: Mapping[str, float], device: torch.device | None = None) -> Tensor:
        """Return the weight of each target, 1 where `weights` names none, adding up to 1: (T,), float64."""
        values = torch.tensor([float(weights.get(name, 1.0)) for name in self.names], dtype=torch.float64, device=device)
        return values / values.sum()

    def _sum(self, row: Property, prediction: Tensor, target: Tensor, graph: AtomGraph) -> Tensor:
        known = ~torch.isnan(target)
        if row.binary:
            loss = functional.binary_cross_entropy_with_logits(prediction.to(torch.float64), torch.where(known, target, 0.0), reduction="none")
            return torch.where(known, loss, 0.0).sum()
        error = torch.where(known, prediction.to(torch.float64) - target, 0.0) / self.scales[row.name]
        if row.has_reference:
            error = error / atom_counts(graph).clamp(min=1)
        return self._size(error).sum()

    def _size(self, error: Tensor) -> Tensor:
        if self.huber is None:
            return error.square()
        return 2.0 * functional.huber_loss(error, torch.zeros_like(error), reduction="none", delta=self.huber)


def atom_counts(graph: AtomGraph) -> Tensor:
    """Return the number of atoms of each molecule: (B,), float64."""
    return torch.bincount(graph.batch, minlength=graph.n_molecules).to(torch.float64)
