"""The loss of a committee of heads: how likely the spread of its members makes its errors.

An error of length r in d components is taken for a draw from a normal distribution whose variance
in each component is that of the members, s^2 = sum_k |v_k - mean|^2 / ((K - 1) d); its negative
logarithm is, but for a constant,
  d log s + r^2 / (2 s^2)
(M. Kellner and M. Ceriotti, Mach. Learn.: Sci. Technol. 5 (2024) 035006). Spreads of forces that
only a likelihood of energies has formed are wrong, and one of forces takes a gradient for each
member: it begins when most of the run is over (M. Schäfer, M. Kellner, J. Kästner and M. Ceriotti,
arXiv 2602.15747). Errors are detached, as those of `training.doubt`: what is predicted, the mean,
learns from its own loss alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from molequi.models.molecular import MolecularModel
from molequi.nn.heads.doubt import MemberSpreadHead
from molequi.nn.response import members_of
from molequi.training.doubt import nothing, squared_sizes

# Part of a run after which the forces of the members are asked for.
FORCES_FROM = 0.8
# Beside the loss of the mean, whose network it shares. Of 600 structures off equilibrium the
# error of forces was 0.54, 0.38 and 0.34 eV/Å with 0.1, 0.01 and 0.001, and the rank correlation of
# errors and spreads 0.51, 0.59 and 0.59: a larger weight only takes from the mean.
_WEIGHT = 0.001
# Variance, (1 meV)^2 or (1 meV/Å)^2, that every deviation has at least: that of a lone atom is zero
# by symmetry.
_SMALLEST = 1e-6


def normal_loss(squared: Tensor, variance: Tensor, n_components: int) -> Tensor:
    """Return the loss of the module's formula of each error, for r^2 and s^2 of one shape."""
    variance = variance + _SMALLEST
    return 0.5 * (n_components * torch.log(variance) + (squared + _SMALLEST) / variance)


class Likelihood:
    """The loss terms of a model's committee, one for each output that it has members of, if any."""

    def __init__(self, model: MolecularModel) -> None:
        heads = [head for head in model.heads.values() if isinstance(head, MemberSpreadHead)]
        self.names = tuple(head.target.spread_of for head in heads)

    def asks_for_forces(self, progress: float) -> bool:
        """Whether the forces of the members count at this progress of the run, 0 to 1."""
        return progress >= FORCES_FROM and "forces" in self.names

    def is_still_to_come(self, start: float) -> bool:
        """Whether an epoch from this progress on saw too little of the likelihood of forces.

        Its model is none to keep where another epoch follows.
        """
        return start < FORCES_FROM and "forces" in self.names

    def counts(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Return the number of known errors of each term: (T,), float64."""
        known = [
            (~torch.isnan(squared_sizes(targets[name]))).sum().to(torch.float64)
            for name in self.names
        ]
        return torch.stack(known) if known else nothing(targets)

    def sums(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of the losses of each term: (T,), float64.

        Zero of outputs whose members were not asked for.
        """
        losses = [self._sum(name, outputs, targets) for name in self.names]
        return _WEIGHT * torch.stack(losses) if losses else nothing(targets)

    def _sum(
        self, name: str, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> Tensor:
        if members_of(name) not in outputs:
            return targets[name].new_zeros((), dtype=torch.float64)
        apart, errors = outputs[members_of(name)], outputs[name].detach() - targets[name]
        n_components = errors[0].numel() if len(errors) else 1
        squares = apart.reshape(*apart.shape[:2], -1).square().sum(dim=(0, 2))
        variance = squares / ((len(apart) - 1) * n_components)
        squared = squared_sizes(errors)
        known = ~torch.isnan(squared)
        loss = normal_loss(torch.where(known, squared, 0.0), variance, n_components)
        return torch.where(known, loss, 0.0).sum()
