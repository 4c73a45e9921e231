"""The loss of what a model thinks of its own errors: it sees them, and they do not see it.

An error of length r in d components is taken for a draw from Student's t distribution of d
dimensions, nu = 4 degrees of freedom and size s (K. L. Lange, R. J. A. Little and J. M. G. Taylor,
J. Am. Stat. Assoc. 84 (1989) 881), whose negative logarithm is, but for a constant,
  d log s + (nu + d) / 2 log(1 + r^2 / (nu s^2)).
Its tails are heavy as those of force errors are: a normal distribution would let a few hot frames
choose the sizes of all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from molequi.datasets.in_memory import Frames
from molequi.models.molecular import MolecularModel
from molequi.nn.heads.doubt import DoubtHead, SpreadHead, logs_of
from molequi.properties import Property

_FREEDOM = 4.0  # nu
# Square of what every deviation has at least, 1 meV(/Å): that of a lone atom is zero by symmetry,
# and would let its s shrink for ever.
_SMALLEST = 1e-6


def compared_rows(rows: Iterable[Property]) -> list[Property]:
    """Return the rows whose labels are compared with predictions.

    Those that are neither a spread nor what other labels belong to.
    """
    rows = list(rows)
    inputs = {row.along for row in rows}
    return [row for row in rows if not row.spread_of and row.name not in inputs]


def student_loss(log_size: Tensor, squared: Tensor, n_components: int) -> Tensor:
    """Return the loss of the module's formula of each error, for log s and r^2 of one shape."""
    ratio = (squared + _SMALLEST) * torch.exp(-2.0 * log_size) / _FREEDOM
    return n_components * log_size + 0.5 * (_FREEDOM + n_components) * torch.log1p(ratio)


class Deviations(NamedTuple):
    """Squared sizes of one kind of deviation, NaN unknown, and the log s that belongs to each.

    n_components: of the vector whose length was squared.
    """

    squared: Tensor
    log_size: Tensor
    n_components: int

    def sum(self) -> Tensor:
        """Return the sum of the losses of what is known, (), float64."""
        known = ~torch.isnan(self.squared)
        loss = student_loss(self.log_size, torch.where(known, self.squared, 0.0), self.n_components)
        return torch.where(known, loss, 0.0).sum()


class DoubtObjective:
    """The loss terms of the spreads `rows`: the errors of a model, and the spread of its labels.

    Two terms each, in this order. Errors are detached: only the head of the spread learns.
    """

    def __init__(self, rows: Sequence[Property]) -> None:
        self.rows = tuple(rows)

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Return the number of known deviations of each term: (T,), float64."""
        known = [
            (~torch.isnan(values)).sum().to(torch.float64)
            for row in self.rows
            for values in (squared_sizes(targets[row.spread_of]), targets[row.name])
        ]
        return torch.stack(known) if known else nothing(targets)

    def sums(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the losses of each term: (T,), float64."""
        losses = [term.sum() for row in self.rows for term in self._terms(row, outputs, targets)]
        return torch.stack(losses) if losses else nothing(targets)

    def _terms(
        self, row: Property, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> Iterator[Deviations]:
        labels, logs = targets[row.spread_of], outputs[logs_of(row.name)]
        errors = outputs[row.spread_of].detach().to(torch.float64) - labels
        n_components = labels[0].numel() if len(labels) else 1
        yield Deviations(squared_sizes(errors), logs[:, 0], n_components)
        yield Deviations(targets[row.name].square(), logs[:, 1], n_components)


def nothing(targets: Mapping[str, Tensor]) -> Tensor:
    """Return an empty list of terms where the targets lie."""
    return next(iter(targets.values())).new_zeros(0, dtype=torch.float64)


def squared_sizes(values: Tensor) -> Tensor:
    """Return the squared length of each value (n, ...): (n,); NaN where a component is."""
    return values.reshape(len(values), -1).square().sum(dim=1)


def spread_heads(model: MolecularModel) -> dict[str, SpreadHead]:
    """Return the heads of spreads by output."""
    return {name: head for name, head in model.heads.items() if isinstance(head, SpreadHead)}


def doubt_heads(model: MolecularModel) -> dict[str, DoubtHead]:
    """Return the heads that learn spreads by output."""
    return {name: head for name, head in model.heads.items() if isinstance(head, DoubtHead)}


def start_doubts(model: MolecularModel, frames: Frames) -> None:
    """Forget calibrations of what learns; note which spreads the labels of the structures have."""
    for name, head in doubt_heads(model).items():
        if any(weight.requires_grad for weight in head.parameters()):
            has_labels = bool((~torch.isnan(frames.targets[name])).any())
            head.reset(has_labels=has_labels)
