"""Heads of optical activity: the Rosenfeld tensor, its trace, and the specific rotation."""

from __future__ import annotations

import math

import torch
from ase import units
from torch import Tensor, nn

from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.heads.electrostatics import flow_radial
from molequi.nn.heads.pooling import SumHead
from molequi.nn.heads.readout import TensorReadout
from molequi.nn.linear import Perceptron
from molequi.o3.cartesian import to_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property

SODIUM_D = 589.3e-7  # cm, mean of the doublet, to which tabulated rotations refer
# [alpha] = 28800 pi^2 N_A nu^2 beta / M in deg/[dm (g/cm³)], nu in 1/cm, beta in cm^4, M in g/mol:
# K. Ruud et al., Chem. Phys. Lett. 373 (2003) 606.
ROTATION_PER_BOHR4 = 28800.0 * math.pi**2 * units._Nav * (units.Bohr * 1e-8) ** 4 / SODIUM_D**2


def optical_rotation(isotropic: Tensor, molecules: Molecules) -> dict[str, Tensor]:
    """Return {rosenfeld_isotropic, specific_rotation}: (B,), from a third of the trace, bohr⁴.

    A molecule without atoms does not rotate.
    """
    rotation = ROTATION_PER_BOHR4 * isotropic / molecules.masses
    return {"rosenfeld_isotropic": isotropic, "specific_rotation": rotation}


class OpticalRotationHead(SumHead):
    """The trace of the Rosenfeld tensor alone, as a sum over atoms, and the specific rotation."""

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {rosenfeld_isotropic: (B,), bohr⁴, specific_rotation: (B,)}, float64."""
        return optical_rotation(molecules.sum(self.atomic_values(features)), molecules)


class AxialFlow(nn.Module):
    """Axial vectors (1e) a_i = sum_j f_ij; f_ij = -f_ji: zero in sum over every connected piece.

    f_ij = u(r_ij) sum_c rho_c(r_ij) (s_ic v_jc - s_jc v_ic) with 0e values s and 1e vectors v of
    the atoms.
    """

    def __init__(self, features: FeatureSpec, *, n_flows: int = 8) -> None:
        super().__init__()
        irreps_in, n_channels, n_invariants, self.cutoff, *_ = features
        self.n_flows = n_flows
        self.rows = irreps_in.slice_of("1e")
        self.sources = Perceptron((n_invariants, features.n_hidden, n_flows), last_bias=True)
        self.vectors = nn.Parameter(torch.randn(n_channels, n_flows))
        self.widths = nn.Parameter(torch.linspace(0.5, 4.0, n_flows))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> Tensor:
        """Return the vectors: (N, 3), float64, so that their sums vanish to its rounding."""
        s, v = (
            self.sources(features.invariant),
            features.equivariant[:, self.rows] @ (self.vectors * len(self.vectors) ** -0.5),
        )
        sender, receiver = molecules.edge_index
        s_i, v_i, s_j, v_j = (
            x.index_select(0, side) for side in (receiver, sender) for x in (s, v)
        )
        radial = flow_radial(features, self.widths / self.cutoff)[:, None, :]
        flow = (radial * (s_i[:, None] * v_j - s_j[:, None] * v_i)).sum(dim=2).to(torch.float64) * (
            0.1 * self.n_flows**-0.5
        )
        return flow.new_zeros(len(molecules.batch), 3).index_add(0, receiver, flow)


class RosenfeldHead(Head):
    """beta = sum_i beta_i - 1/2 sum_i (r_i - r_COM) x alpha_i, and a third of its trace.

    A tensor that depends on the origin is no sum of local ones.

    A shift R of the origin adds -1/2 eps_bcd R_c alpha_ad to beta_ab, because the magnetic moment
    changes by R x p / 2. So each atom brings a local beta_i (0o+1o+2o) and a local polarizability
    alpha_i (0e+1e+2e). The trace sees only the antisymmetric part of alpha_i, which flows along
    edges: it sums to zero over every connected piece, whose trace then depends neither on the
    origin nor on other pieces far away.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.local = TensorReadout(self.irreps, features)
        self.symmetric = TensorReadout(Irreps("0e+2e"), features)
        self.flow = AxialFlow(features)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {rosenfeld: (B, 3, 3), rosenfeld_isotropic, specific_rotation: (B,)}, float64.

        The tensor in bohr⁴, its electric index first.
        """
        symmetric = self.symmetric(features, self.scale[1:]).to(torch.float64)
        antisymmetric = self.flow(features, molecules) * self.scale[0]
        alpha = to_cartesian(
            torch.cat([symmetric[:, :1], antisymmetric, symmetric[:, 1:]], dim=1), (0, 1, 2)
        )
        moved = torch.linalg.cross(molecules.positions[:, None, :].expand_as(alpha), alpha, dim=2)
        local = to_cartesian(self.local(features, self.scale), (0, 1, 2)).to(torch.float64)
        tensor = molecules.sum(local - 0.5 * moved)
        return {
            "rosenfeld": tensor,
            **optical_rotation(tensor.diagonal(dim1=1, dim2=2).mean(dim=1), molecules),
        }
