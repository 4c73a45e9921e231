"""What a model thinks of its own errors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.linear import Perceptron
from molequi.properties import Property

# Shares of the errors whose largest size is kept by `calibration`; the spread is that of `SHARE`.
SHARES = (0.5, 0.68, 0.9, 0.95)
SHARE = 0.68
# A new network is off by about a tenth of what it learns.
_START = math.log(0.1)


class SpreadHead(Head):
    """The size of the errors of another property, as structures outside of training have fixed it.

    power, factor: sigma = factor scale (s / scale)^power takes a raw spread s to the one that held
    for structures that nothing was trained on. quantiles: (4,), in units of sigma, within which the
    `SHARES` of the errors lay there; 0 before a calibration.
    """

    power: Tensor
    factor: Tensor
    quantiles: Tensor

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.register_buffer("power", torch.ones(()))
        self.register_buffer("factor", torch.ones(()))
        self.register_buffer("quantiles", torch.zeros(len(SHARES)))

    def set_calibration(self, factor: float, power: float, quantiles: Tensor) -> None:
        """Set what takes a raw spread to that of held-out structures."""
        self.factor.fill_(factor)
        self.power.fill_(power)
        self.quantiles.copy_(quantiles)

    def forget_calibration(self) -> None:
        """Give raw spreads again."""
        self.set_calibration(1.0, 1.0, torch.zeros_like(self.quantiles))

    @property
    def is_calibrated(self) -> bool:
        """Whether held-out structures have said what the spread means."""
        return bool((self.quantiles > 0).all())

    def leave_out_labels(self) -> None:
        """Leave out how far labels themselves may be off, where the spread holds any of that."""


class MemberSpreadHead(SpreadHead):
    """How far the members of an ensemble lie apart: no features tell it, but their outputs.

    s^2 = sum_k |v_k - mean|^2 / (K - 1) of the values of K members, summed over components: an
    estimate without bias of the variance of one member.
    """

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return nothing: what is needed, `of_members` is given."""
        return {}

    def of_members(self, values: Tensor) -> Tensor:
        """Return the spread of values (K, N or B, *shape) over members: (N or B,), float64."""
        members, scale = values.to(torch.float64), self.scale[0].to(torch.float64)
        apart = members.reshape(*members.shape[:2], -1).var(dim=0, correction=1)
        raw = apart.sum(dim=1).sqrt() / scale
        return scale * self.factor * raw**self.power


class DoubtHead(SpreadHead):
    """A network's estimate of its own errors, from invariant features whose gradient ends here.

    sigma^2 = own^2 + labels^2: the error of the network against its labels, and, where the labels
    came with a spread of their own, what the network expects of that. Both are logarithms of one
    scalar network; for a property of the molecule the squares of the atoms add up. The features are
    detached, so that learning to doubt changes nothing else.

    `own` is what is calibrated. has_labels: 1 where labels had a spread.
    """

    has_labels: Tensor

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.network = Perceptron((features.n_invariants, features.n_hidden, 2), last_bias=True)
        self.register_buffer("has_labels", torch.zeros(()))

    def log_spreads(self, features: NodeFeatures, molecules: Molecules) -> Tensor:
        """Return log(s / scale) of the network's errors and of the labels: (N or B, 2), float64."""
        logs = _START + self.network(features.invariant.detach()).to(torch.float64)
        if self.target.per_atom:
            return logs
        # A molecule without atoms has a spread of (nearly) nothing instead of log 0.
        return 0.5 * torch.log(molecules.sum(torch.exp(2.0 * logs)).clamp(min=1e-12))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (N,) or (B,)}, in training with what `log_spreads` gives, in the unit."""
        logs = self.log_spreads(features, molecules)
        own = self.factor * torch.exp(self.power * logs[:, 0])
        spread = self.scale[0] * torch.hypot(own, self.has_labels * torch.exp(logs[:, 1]))
        if not self.training:
            return {self.target.name: spread}
        return {
            self.target.name: spread,
            logs_of(self.target.name): logs + torch.log(self.scale[0].to(torch.float64)),
        }

    def reset(self, *, has_labels: bool) -> None:
        """Forget the calibration; say whether the labels have a spread to learn."""
        self.forget_calibration()
        self.has_labels.fill_(float(has_labels))

    def leave_out_labels(self) -> None:
        """Give the error of the network alone."""
        self.has_labels.zero_()


def logs_of(name: str) -> str:
    """Name the output that the loss of a doubt is made of."""
    return f"{name}[log]"
