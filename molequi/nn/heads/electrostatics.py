"""Heads of charges and dipoles.

Charges flow along edges, so every connected piece keeps its own; or they are the model's.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.graphs.graph import may_have
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.heads.readout import TensorReadout
from molequi.nn.linear import Perceptron
from molequi.o3.irreps import Irreps
from molequi.properties import DEBYE, Property


class ChargeFlow(nn.Module):
    """Partial charges q_i = q0_i + sum_j f_ij; f_ij = -f_ji, so each connected piece keeps its own.

    f_ij = u(r_ij) sum_c rho_c(r_ij) (a_ic b_jc - a_jc b_ic); q0 spreads the total charge with
    positive 0e weights.
    """

    def __init__(self, features: FeatureSpec, *, n_flows: int = 8) -> None:
        super().__init__()
        n_invariants = features.n_invariants
        self.cutoff, self.n_flows = features.cutoff, n_flows
        self.sources = Perceptron((n_invariants, features.n_hidden, 2 * n_flows), last_bias=True)
        self.widths = nn.Parameter(torch.linspace(0.5, 4.0, n_flows))
        self.attention = Perceptron((n_invariants, features.n_hidden, 1))

    def forward(self, features: NodeFeatures, molecules: Molecules, scale: Tensor) -> Tensor:
        """Return charges: (N,), e."""
        a, b = self.sources(features.invariant).split(self.n_flows, dim=1)
        sender, receiver = molecules.edge_index
        radial = flow_radial(features, self.widths / self.cutoff)
        a_i, b_i, a_j, b_j = (
            x.index_select(0, side) for side in (receiver, sender) for x in (a, b)
        )
        flow = (radial * (a_i * b_j - a_j * b_i)).sum(dim=1) * (0.1 * self.n_flows**-0.5)
        charges = (
            (flow * scale).new_zeros(molecules.batch.shape[0]).index_add(0, receiver, flow * scale)
        )
        if not may_have(molecules.total_charge):
            return charges
        weights = functional.softplus(self.attention(features.invariant))[:, 0]
        share = weights / molecules.sum(weights).to(weights.dtype).clamp(min=1e-12)[molecules.batch]
        return charges + share * molecules.total_charge.to(weights.dtype)[molecules.batch]


def flow_radial(features: NodeFeatures, inverse_widths: Tensor) -> Tensor:
    """Return u(r_e) exp(-(r_e w_f)^2) for inverse widths (F,), 1/Å: (E, F)."""
    return features.envelope[:, None] * torch.exp(
        -(features.distances[:, None] * inverse_widths).square()
    )


class AtomicMultipoles(NamedTuple):
    """What a model says of the charge in a molecule: charges (N,), e, and dipoles (N, 3), e·Å."""

    charges: Tensor
    dipoles: Tensor


class MultipoleHead(Head):
    """A head of charges and dipoles, which may be asked for both.

    The charges are those of the molecules where the model makes them, else flows of its own.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.flow = None if features.gives_charges else ChargeFlow(features)

    def charges(self, features: NodeFeatures, molecules: Molecules) -> Tensor:
        """Return the charges of the atoms: (N,), e."""
        if self.flow is not None:
            return self.flow(features, molecules, self.scale[0])
        if molecules.charges is None:
            raise ValueError("this head has no charges of its own, and the molecules have none")
        return molecules.charges.values

    @abc.abstractmethod
    def multipoles(self, features: NodeFeatures, molecules: Molecules) -> AtomicMultipoles:
        """Return the charges and dipoles of the atoms, whose sum is the molecule's dipole."""


class ChargeHead(MultipoleHead):
    """Partial charges alone."""

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {charges: (N,)}, e."""
        return {self.target.name: self.charges(features, molecules)}

    def multipoles(self, features: NodeFeatures, molecules: Molecules) -> AtomicMultipoles:
        """Return the charges, and dipoles of zero."""
        charges = self.charges(features, molecules)
        return AtomicMultipoles(charges, charges.new_zeros(charges.shape[0], 3))


class DipoleHead(MultipoleHead):
    """mu = sum_i q_i (r_i - r_COM) + sum_i mu_i, from - to +; its length in debye; the charges.

    Charges and atomic dipoles as in PhysNet's and PaiNN's dipoles (Unke and
    Meuwly, JCTC 15, 3678 (2019), eq. 8; Schuett et al., ICML 2021, eq. 8). For an ion the origin is
    the centre of mass.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = TensorReadout(Irreps("1o"), features)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {dipole: (B, 3), e·Å} and of dipole_magnitude (B,), D, and charges (N,), e."""
        charges, dipole = self._charges_and_dipole(features, molecules)
        known = {
            self.target.name: dipole,
            "dipole_magnitude": safe_norm(dipole) / DEBYE,
            "charges": charges,
        }
        return {name: known[name] for name in (self.target.name, *self.companions)}

    def multipoles(self, features: NodeFeatures, molecules: Molecules) -> AtomicMultipoles:
        """Return the charges and dipoles of the atoms, whose sum is the dipole."""
        return AtomicMultipoles(
            self.charges(features, molecules), self.readout(features, self.scale)
        )

    def _charges_and_dipole(
        self, features: NodeFeatures, molecules: Molecules
    ) -> tuple[Tensor, Tensor]:
        charges, atomic = self.multipoles(features, molecules)
        moments = charges.to(torch.float64)[:, None] * molecules.positions + atomic
        return charges, molecules.sum(moments)


class DipoleMagnitudeHead(DipoleHead):
    """The length of a dipole whose direction is not learned."""

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {dipole_magnitude: (B,), D} and, where asked for, charges (N,), e."""
        charges, dipole = self._charges_and_dipole(features, molecules)
        known = {self.target.name: safe_norm(dipole) / DEBYE, "charges": charges}
        return {name: known[name] for name in (self.target.name, *self.companions)}

    def set_statistics(
        self, scale: float | Tensor = 1.0, shift: float = 0.0, reference: Tensor | None = None
    ) -> None:
        """Set the scale of charges and dipoles.

        Raises ValueError for a shift, which a length cannot have.
        """
        if shift or reference is not None:
            raise ValueError(f"{self.target.name} is a length: it may be scaled, never shifted")
        super().set_statistics(scale)


def safe_norm(vectors: Tensor) -> Tensor:
    """Return the length of vectors (..., 3); its gradient at zero is zero instead of undefined."""
    squared = vectors.square().sum(dim=-1)
    nonzero = squared > 0
    return torch.where(
        nonzero,
        torch.where(nonzero, squared, torch.ones_like(squared)).sqrt(),
        torch.zeros_like(squared),
    )
