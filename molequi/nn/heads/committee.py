"""An energy that several heads on one backbone give: their mean, and how far they lie apart."""

from __future__ import annotations

import torch
from torch import Tensor

from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Molecules
from molequi.nn.heads.pooling import EnergyHead
from molequi.nn.heads.readout import TensorReadout
from molequi.nn.response import members_of
from molequi.o3.irreps import Irreps
from molequi.properties import Property


class CommitteeHead(EnergyHead):
    """The mean energy of K readouts, and of each the distance from the mean: a shallow ensemble.

    M. Kellner and M. Ceriotti, Mach. Learn.: Sci. Technol. 5 (2024) 035006: members that share all
    weights but those of their readouts, trained together by a likelihood. K: `target.members`.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = TensorReadout(Irreps("+".join(["0e"] * target.members)), features)

    def begin_from(self, head: EnergyHead) -> None:
        """Take the weights of a trained head for every readout, each parted from it by a little.

        A tenth of what the readout was born with: readouts that are alike would stay so.
        """
        state = head.state_dict()
        for number, network in enumerate(self.readout.networks):
            for name, weight in network.named_parameters():
                old = state[f"readout.networks.0.{name}"]
                state[f"readout.networks.{number}.{name}"] = old + 0.1 * weight.detach().to(old)
        self.load_state_dict(state, strict=False)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return what `EnergyHead` does, and {energy[members]: (K, B), eV, float64}."""
        scales = self.scale.expand(self.target.members)
        learned = self.readout(features, scales).to(torch.float64)
        mean = learned.mean(dim=1)
        apart = molecules.sum(learned - mean[:, None]).T
        return {**self.of_atoms(mean, molecules), members_of(self.target.name): apart}
