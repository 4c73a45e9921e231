"""Heads that add up or average what the readout gives for each atom."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from molequi.graphs.elements import N_ELEMENTS
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.heads.readout import TensorReadout
from molequi.nn.linear import Perceptron
from molequi.o3.cartesian import to_cartesian
from molequi.o3.irreps import Irreps
from molequi.properties import Property


class SumHead(Head):
    """Extensive and per-atom properties: sum_i or list of (value_i + shift + reference(Z_i)).

    Of a tensor the shift and the reference belong to its 0e part.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = TensorReadout(self.irreps, features)

    def atomic_values(self, features: NodeFeatures) -> Tensor:
        """Learned part per atom, Cartesian: (N, *target.shape), the model's dtype."""
        return to_cartesian(self.readout(features, self.scale), tuple(l for l, _ in self.irreps))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B, *shape) float64 or (N, *shape)}."""
        shifts = self.shift + self.reference[molecules.atomic_numbers]
        values = self.shifted(self.atomic_values(features), shifts)
        return {self.target.name: values if self.target.per_atom else molecules.sum(values)}


class EnergyHead(SumHead):
    """The total energy, `energies` per atom and, where asked for, what is learned of these.

    `short_range_energies` are the learned parts, beside which other terms may stand. What labels
    call the energy of an atom is defined up to a constant of its element: `constants`, eV, takes
    the learned parts to the labels, and has no part in the energy.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.constants = nn.Parameter(torch.zeros(N_ELEMENTS)) if companions else None

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {energy: (B,), energies: (N,)} and the companion (N,), eV, float64."""
        return self.of_atoms(self.atomic_values(features).to(torch.float64), molecules)

    def of_atoms(self, learned: Tensor, molecules: Molecules) -> dict[str, Tensor]:
        """Return what `forward` does for the learned part of each atom: (N,), eV, float64."""
        numbers = molecules.atomic_numbers
        energies = learned + self.shift + self.reference[numbers]
        values = {self.target.name: molecules.sum(energies), "energies": energies}
        if self.constants is not None:
            values |= {name: learned + self.constants[numbers] for name in self.companions}
        return values


class MeanHead(Head):
    """Intensive properties: a weighted mean sum_i w_i v_i / sum_i w_i + shift, of its 0e part.

    The positive weights are learned from the 0e features.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = TensorReadout(self.irreps, features)
        self.attention = Perceptron((features.n_invariants, features.n_hidden, 1))

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B, *shape)}, float64; a molecule without atoms gets the shift."""
        weights = functional.softplus(self.attention(features.invariant))
        rows = molecules.sum(self.readout(features, self.scale) * weights)
        rows = rows / molecules.sum(weights).clamp(min=1e-12)
        values = to_cartesian(rows, tuple(l for l, _ in self.irreps))
        return {self.target.name: self.shifted(values, self.shift.expand(len(values)))}


class PooledHead(Head):
    """A number or label of which nobody knows how it comes from the atoms.

    y = shift + s (sum_i v_i / sqrt(n) + F(sum_i h_i / n, sum_i w_i h_i / sum_i w_i)): a sum over
    atoms, which much of a logP is, and beside it a network F of pooled features, for what counts
    groups or asks for a share of them. v, w > 0 and h are networks of the 0e features of an atom, n
    the mean atom count of the training structures. Derived here; that a network reads pooled
    features is usual in graph networks (J. Gilmer et al., arXiv 1704.01212).
    """

    n_atoms: Tensor

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        n_hidden = features.n_hidden
        self.readout = TensorReadout(self.irreps, features)
        self.pooled = Perceptron((features.n_invariants, n_hidden, n_hidden + 1), last_bias=True)
        self.network = Perceptron((2 * n_hidden, n_hidden, 1))
        self.register_buffer("n_atoms", torch.tensor(20.0))

    def set_size(self, n_atoms: float) -> None:
        """Divide sums by this many atoms."""
        self.n_atoms.fill_(n_atoms)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B,)}, float64; a molecule without atoms gets the value of no features."""
        values = self.readout(features, self.scale)
        hidden, weights = self.pooled(features.invariant).split((self.features.n_hidden, 1), dim=1)
        hidden, weights = functional.silu(hidden), functional.softplus(weights)
        means = molecules.sum(hidden * weights) / molecules.sum(weights).clamp(min=1e-12)
        pooled = torch.cat([molecules.sum(hidden) / self.n_atoms, means], dim=1)
        beside = self.network(pooled.to(values.dtype)) * self.scale
        rows = molecules.sum(values) / self.n_atoms.sqrt() + beside
        return {self.target.name: rows[:, 0] + self.shift}


class SpatialExtentHead(Head):
    """<r^2> = sum_i w_i |r_i - r_COM|^2 + sum_i s_i.

    An extent grows with the distance of its parts, so it is no sum of local terms.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        self.readout = TensorReadout(Irreps("0e+0e"), features)

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {name: (B,)}, Å², float64."""
        weight, local = (
            self.readout(features, torch.ones_like(self.scale).expand(2))
            .to(torch.float64)
            .unbind(dim=1)
        )
        # A neutral atom holds Z electrons, the natural first guess of its weight.
        weight = molecules.atomic_numbers * (1.0 + 0.1 * weight)
        values = (
            weight * molecules.positions.square().sum(dim=1)
            + local * self.scale[0]
            + self.shift
            + self.reference[molecules.atomic_numbers]
        )
        return {self.target.name: molecules.sum(values)}
