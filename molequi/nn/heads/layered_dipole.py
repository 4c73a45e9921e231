"""The dipole as MACE reads it: vectors of every layer, and gated ones of the last."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.heads.electrostatics import safe_norm
from molequi.properties import DEBYE, Property


class LayeredDipoleHead(Head):
    """mu = scale sum_i (sum_t w_t . V_it + sum_k s_k silu(g_k . h_iT) f_k . V_iT), e·Å.

    V_it are the vectors of layer t, h_iT the scalars of the last. The dipole readouts of mace-torch
    0.3.16, module `blocks`. No charges: it is for neutral molecules, whose origin does not matter.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        n_channels, n_hidden = features.n_channels, features.n_hidden
        self.linear = nn.Parameter(torch.randn(features.n_invariants) * n_channels**-0.5)
        self.gate = nn.Parameter(torch.randn(n_channels, n_hidden) * n_channels**-0.5)
        self.first = nn.Parameter(torch.randn(n_channels, n_hidden) * n_channels**-0.5)
        self.second = nn.Parameter(torch.randn(n_hidden) * n_hidden**-0.5)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {dipole: (B, 3), e·Å} and of dipole_magnitude (B,), D, what is asked for."""
        if features.vectors is None:
            raise ValueError("this head reads the vectors of every layer, which the network lacks")
        n_channels = len(self.first)
        scalars = features.invariant[:, -n_channels:]
        gates = functional.silu(scalars @ self.gate) * self.second
        gated = features.vectors[:, :, -n_channels:] @ self.first
        atomic = features.vectors @ self.linear + (gated @ gates[:, :, None])[:, :, 0]
        dipole = molecules.sum(atomic * self.scale)
        known = {self.target.name: dipole, "dipole_magnitude": safe_norm(dipole) / DEBYE}
        return {name: known[name] for name in (self.target.name, *self.companions)}
