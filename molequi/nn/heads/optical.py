"""Heads of optical activity: the Rosenfeld tensor, its trace, and the specific rotation."""

from __future__ import annotations

import math

import torch
from ase import units
from torch import Tensor, nn

from molequi.graphs.elements import N_ELEMENTS
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
_POLARIZABILITY = "polarizability"


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
        return flow.new_zeros(molecules.batch.shape[0], 3).index_add(0, receiver, flow)


def origin_term(positions: Tensor, polarizabilities: Tensor) -> Tensor:
    """Return 1/2 r x alpha, what a polarizable piece at r adds to the Rosenfeld tensor: (N, 3, 3).

    positions: (N, 3), Å. polarizabilities: (N, 3, 3), bohr⁴/Å, electric index first. The result in
    bohr⁴: 1/2 eps_bcd r_c alpha_ad at (a, b).

    The labels are beta_ab = -2 r_a (A+B)^-1 (A-B)^-1 l_b with l = r x nabla, and alpha_ad =
    4 r_a (A+B)^-1 r_d (`labeling.response_direct`). Moving a molecule by R adds R x nabla to l, and
    in a complete basis (A-B)^-1 nabla = -r, so that beta_ab grows by 1/2 eps_bcd R_c alpha_ad.
    """
    return 0.5 * torch.linalg.cross(
        positions[:, None, :].expand_as(polarizabilities), polarizabilities, dim=2
    )


class RosenfeldHead(Head):
    """beta = sum_i beta_i + 1/2 sum_i (r_i - r_COM) x c_i alpha_i, and a third of its trace.

    A tensor that depends on the origin is no sum of local ones (`origin_term`). So each atom brings
    a local beta_i (0o+1o+2o) and a local polarizability alpha_i (0e+1e+2e). Where the molecule's
    polarizability is an output too, it is the sum of these alpha_i: its labels then teach the sign
    and the size of the origin term. Its 0e part begins at `reference`, Å³.

    In a finite basis the polarizability of the origin term is -4 r_a (A+B)^-1 (A-B)^-1 nabla_d,
    which differs from that of the labels by little more than a factor: 0.83 to 0.89 for molecules
    of QM9 in HF/6-31G, 0.997 for H2O2 in aug-cc-pVTZ. c_i, a positive number for each element,
    is learned for that. Without a polarizability it is 1.

    The trace sees only the antisymmetric part of alpha_i, which flows along edges: it sums to zero
    over every connected piece, whose trace then depends neither on the origin nor on other pieces
    far away.
    """

    alpha_scale: Tensor | None

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.local = TensorReadout(self.irreps, features)
        self.polarizability = TensorReadout(Irreps("0e+2e"), features)
        self.flow = AxialFlow(features)
        is_given = _POLARIZABILITY in companions
        self.log_shares = nn.Parameter(torch.zeros(N_ELEMENTS)) if is_given else None
        self.register_buffer("alpha_scale", torch.ones(2) if is_given else None)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {rosenfeld: (B, 3, 3), rosenfeld_isotropic, specific_rotation: (B,)}, float64.

        The tensor in bohr⁴, its electric index first. With it, where asked for, the polarizability
        (B, 3, 3), Å³.
        """
        scale = self.scale[1:] if self.alpha_scale is None else self.alpha_scale / units.Bohr**4
        rows = self.polarizability(features, scale).to(torch.float64)
        if self.log_shares is not None:
            references = self.reference[molecules.atomic_numbers, None] / units.Bohr**4
            rows = torch.cat([rows[:, :1] + references, rows[:, 1:]], dim=1)
        axial = self.flow(features, molecules) * self.scale[0]
        local = to_cartesian(self.local(features, self.scale), (0, 1, 2)).to(torch.float64)
        shares = self._shares(molecules)
        alpha = to_cartesian(
            torch.cat([rows[:, :1] * shares, axial, rows[:, 1:] * shares], dim=1), (0, 1, 2)
        )
        tensor = molecules.sum(local + origin_term(molecules.positions, alpha))
        values = {
            "rosenfeld": tensor,
            **optical_rotation(tensor.diagonal(dim1=1, dim2=2).mean(dim=1), molecules),
        }
        if self.log_shares is not None:
            values[_POLARIZABILITY] = to_cartesian(molecules.sum(rows), (0, 2)) * units.Bohr**4
        return values

    def scale_of(self, name: str) -> Tensor:
        """Return the scale of the target or a companion: the polarizability may have its own."""
        if name == _POLARIZABILITY and self.alpha_scale is not None:
            return self.alpha_scale
        return self.scale if name == self.target.name else self.scale[:1]

    def set_companion_statistics(self, name: str, scale: Tensor, reference: Tensor | None) -> None:
        """Set scale and reference of the polarizability, Å³."""
        if name == _POLARIZABILITY and self.alpha_scale is not None:
            self.alpha_scale.copy_(scale)
            if reference is not None:
                self.reference.copy_(reference)

    def _shares(self, molecules: Molecules) -> Tensor | float:
        """Return c_i: (N, 1), or 1."""
        if self.log_shares is None:
            return 1.0
        return self.log_shares[molecules.atomic_numbers, None].exp().to(torch.float64)
