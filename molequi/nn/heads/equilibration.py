"""Charges of a whole model: local where the geometry tells them, exact in their sum everywhere.

What atoms carry is added up in every neighbourhood and rounded to whole charges, such as the +1 of
an ammonium; what then is missing to the total charge is spread over the molecule and has a price.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.kernels import inplace
from molequi.kernels.equilibration import EquilibratedOnce, Neighborhoods
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Molecules, PartialCharges
from molequi.nn.linear import Perceptron

# Sums within so much of a whole charge, e, are that charge.
PLATEAU = 0.2
# Of the charges of a network that was shown none, e.
_SCALE = 0.1


class Equilibration(nn.Module):
    """Partial charges q_i = p_i + sum_j V_ij (snap(c_j) - c_j) + psi_i that add up to Q.

    p_i, learned, are charges but for small errors of their sums. c_i = sum_j W_ij p_j collects them
    at those atoms of every neighbourhood that the weights w choose. `snap` makes these sums whole,
    and V returns what that changed to the neighbourhood. W_ij = w_i u_ij / sum_k w_k u_kj with
    u_ij = u(r_ij), u_ii = 1 and w_i > 0; V likewise with weights v. Their columns add up to one, so
    that far pieces keep the whole charges that their atoms carry.
    psi_i = v_i / sum_j v_j (Q - sum_j snap(c_j)) over the molecule, as the charges of AIMNet-NSE
    are brought to their sum (Zubatyuk et al., Nat. Commun. 12, 4870 (2021)). The energy of charge
    is chi_i (snap(c_i) + psi_i) + eta_i psi_i^2 / 2, chi and eta learned and zero at first: so the
    total charge is an input of the energy, and what charging costs stays where it is while atoms
    learn to claim a charge that was spread before. Where whole charges add up to Q, psi is exactly
    zero, and what is far away changes nothing; sums that are not whole would leave a little charge
    to share with it.
    """

    scale: Tensor

    def __init__(self, features: FeatureSpec) -> None:
        super().__init__()
        self.network = Perceptron((features.n_invariants, features.n_hidden, 5))
        with torch.no_grad():
            self.network.weights[-1][:, 3:] = 0.0
        self.register_buffer("scale", torch.tensor(_SCALE))
        self.kernels = "reference"

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes `forward_once`; names as those of a backbone."""
        self.kernels = "reference" if kernels == "auto" else kernels

    def forward(self, features: NodeFeatures, molecules: Molecules) -> PartialCharges:
        """Return the charges, differentiable in the features and their envelope."""
        near, w, v, chi, eta = self.network(features.invariant).to(torch.float64).unbind(dim=1)
        gather = _gathering(features, molecules)
        near = near * self.scale
        weights = functional.softplus(torch.stack([w, v], dim=1))
        (w, v), (w_near, v_near) = weights.unbind(dim=1), gather(weights).unbind(dim=1)
        collected = w * gather(near / w_near)
        whole = snap(collected)
        claimed, all_v = molecules.sum(torch.stack([whole, v], dim=1)).unbind(dim=1)
        missing = (molecules.total_charge - claimed) / all_v.clamp(min=1e-12)
        residual = v * missing[molecules.batch]
        return PartialCharges(
            near + v * gather((whole - collected) / v_near) + residual,
            chi * (whole + residual) + 0.5 * eta * residual.square(),
            self._with_slope(claimed.detach(), collected, molecules),
        )

    def forward_once(
        self, features: NodeFeatures, molecules: Molecules, receiver_ptr: Tensor
    ) -> PartialCharges:
        """Return the charges, differentiable once, with nothing for training.

        receiver_ptr: (N + 1,), where the edges of each receiver begin.
        """
        if not inplace.serves(features.invariant, self.kernels):
            return self(features, molecules)
        around = Neighborhoods(
            molecules.edge_index[0], receiver_ptr, molecules.batch, molecules.total_charge
        )
        raw = self.network(features.invariant)
        return PartialCharges(
            *EquilibratedOnce.apply(raw, features.envelope, around, self.scale.item(), PLATEAU)
        )

    def _with_slope(self, claimed: Tensor, collected: Tensor, molecules: Molecules) -> Tensor:
        """Return the sums with a gradient to learn from, which whole charges have not.

        It is that of c - 0.8 sin(2 pi c) / 2 pi, nowhere flat and steepest between whole charges
        (a straight-through estimator: Bengio et al., arXiv:1308.3432).
        """
        if not self.training:
            return claimed
        slope = 1.0 - 0.8 * torch.cos(2.0 * math.pi * collected.detach())
        return claimed + molecules.sum(slope * (collected - collected.detach()))


def snap(charges: Tensor) -> Tensor:
    """Return x, e, moved to the nearest whole number where that is within `PLATEAU`.

    Between the plateaus a step of degree five, so that two derivatives are continuous.
    """
    floor = charges.detach().floor()
    t = ((charges - floor - PLATEAU) / (1.0 - 2.0 * PLATEAU)).clamp(0.0, 1.0)
    return floor + t * t * t * (10.0 - t * (15.0 - 6.0 * t))


def _gathering(features: NodeFeatures, molecules: Molecules) -> Callable[[Tensor], Tensor]:
    """Return x -> x_i + sum_j u(r_ij) x_j, for x of shape (N, ...), float64."""
    sender, receiver = molecules.edge_index
    envelope = features.envelope.to(torch.float64)

    def gather(x: Tensor) -> Tensor:
        factors = envelope if x.ndim == 1 else envelope[:, None]
        return x.index_add(0, receiver, factors * x.index_select(0, sender))

    return gather
