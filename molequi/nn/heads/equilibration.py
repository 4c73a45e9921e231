"""Charges of a whole model: local where the geometry tells them, exact in their sum everywhere.

Atoms claim whole charges, such as the +1 of an ammonium; neighbours shift charge among each other;
what then is missing to the total charge is spread over the molecule and has a price in energy.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Molecules, PartialCharges
from molequi.nn.linear import Perceptron

# Claims within so much of a whole number are that number.
PLATEAU = 0.2
# Of a claim of a new network, e: most atoms begin on the plateau of zero, none far from its edge.
_CLAIM = 0.2
# Of the charges of a network that was shown none, e.
_SCALE = 0.1


class Equilibration(nn.Module):
    """Partial charges q_i = z_i + (r_i - sum_j T_ij r_j) + psi_i, whose sum is the total charge Q.

    z_i = snap(a_i), a learned claim: exactly whole, with no slope, near whole numbers.
    r_i, learned, is taken back from the neighbourhood: T_ij = w_i u_ij / n_j with u_ij = u(r_ij),
    u_ii = 1, n_j = sum_i w_i u_ij and learned w_i > 0, so that the columns of T add up to one and
    every connected piece keeps the charge that its atoms claim.
    psi_i = w_i / sum_j w_j (Q - sum_j z_j) over the molecule, as the charges of AIMNet-NSE
    (Zubatyuk et al., Nat. Commun. 12, 4870 (2021)) are brought to their sum. Its energy is
    chi_i psi_i + eta_i psi_i^2 / 2, chi and eta learned and zero at first: so the total charge is
    an input of the energy. Where the claims add up to Q, psi is exactly zero, and what is far away
    changes nothing; sums that are not whole would leave a little charge to share with it.
    """

    scale: Tensor

    def __init__(self, features: FeatureSpec) -> None:
        super().__init__()
        self.network = Perceptron((features.n_invariants, features.n_hidden, 5))
        with torch.no_grad():
            self.network.weights[-1][:, 3:] = 0.0
        self.register_buffer("scale", torch.tensor(_SCALE))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> PartialCharges:
        """Return the charges, differentiable in the features."""
        claims, weights, shifted, chi, eta = (
            self.network(features.invariant).to(torch.float64).unbind(dim=1)
        )
        claims, weights = _CLAIM * claims, functional.softplus(weights)
        whole = snap(claims)
        local = whole + _compensated(shifted * self.scale, weights, features, molecules)
        sums = molecules.sum(torch.stack([whole, weights, claims], dim=1))
        claimed, weight, unsnapped = sums.unbind(dim=1)
        missing = (molecules.total_charge - claimed) / weight.clamp(min=1e-12)
        residual = weights * missing[molecules.batch]
        return PartialCharges(
            local + residual,
            residual * (chi + 0.5 * eta * residual),
            # A claim on a plateau has no slope by which it could learn; so it learns as if it were
            # not snapped (the straight-through estimator: Bengio et al., arXiv:1308.3432).
            claimed.detach() + (unsnapped - unsnapped.detach()),
        )


def snap(claims: Tensor) -> Tensor:
    """Return x, e, moved to the nearest whole number where that is within `PLATEAU`.

    Between the plateaus a step of degree five, so that two derivatives are continuous.
    """
    floor = claims.detach().floor()
    t = ((claims - floor - PLATEAU) / (1.0 - 2.0 * PLATEAU)).clamp(0.0, 1.0)
    return floor + t * t * t * (10.0 - t * (15.0 - 6.0 * t))


def _compensated(
    values: Tensor, weights: Tensor, features: NodeFeatures, molecules: Molecules
) -> Tensor:
    """Return r - T r, which adds up to zero over every connected piece: (N,)."""
    sender, receiver = molecules.edge_index
    envelope = features.envelope.to(torch.float64)

    def gathered(x: Tensor) -> Tensor:
        return x.index_add(0, receiver, envelope * x.index_select(0, sender))

    return values - weights * gathered(values / gathered(weights))
