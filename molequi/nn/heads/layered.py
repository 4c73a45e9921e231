"""The energy as MACE reads it: a part from every layer, and the repulsion of nuclei."""

from __future__ import annotations

import torch
from ase import data
from torch import Tensor, nn
from torch.nn import functional

from molequi.graphs.elements import N_ELEMENTS
from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec, Head, Molecules
from molequi.nn.mace.radial import polynomial_envelope
from molequi.properties import Property

# Shares and decays of the screening function, the constants of its length (before Z^exponent, in
# units of 0.529 Å) and the Coulomb constant, eV Å, as mace-torch 0.3.16 has them.
_SHARES, _DECAYS = (0.1818, 0.5099, 0.2802, 0.02817), (3.2, 0.9423, 0.4028, 0.2016)
_LENGTH, _BOHR, _EXPONENT, _COULOMB = 0.4543, 0.529, 0.300, 14.3996


class LayeredEnergyHead(Head):
    """E_i = scale (sum_t w_t . h_it + net(h_iT) + repulsion_i) + shift + reference(Z_i).

    h_it are the scalars of layer t, net has one hidden layer. Batatia et al., MACE, NeurIPS 2022,
    eq. 13; the repulsion of mace-torch 0.3.16, module `radial`, which is off in a new
    head.
    """

    def __init__(
        self, target: Property, features: FeatureSpec, companions: tuple[str, ...] = ()
    ) -> None:
        super().__init__(target, features, companions)
        n_channels, n_hidden = features.n_channels, features.n_hidden
        self.linear = nn.Parameter(torch.randn(features.n_invariants) * n_channels**-0.5)
        self.first = nn.Parameter(torch.randn(n_channels, n_hidden) * n_channels**-0.5)
        self.second = nn.Parameter(torch.randn(n_hidden) * n_hidden**-0.5)
        self.repulsion = PairRepulsion()

    def forward(self, features: NodeFeatures, molecules: Molecules) -> dict[str, Tensor]:
        """Return {energy: (B,), energies: (N,)}, eV, float64."""
        scalars, numbers = features.invariant, molecules.atomic_numbers
        hidden = functional.silu(scalars[:, -len(self.first) :] @ self.first)
        learned = scalars @ self.linear + hidden @ self.second
        if self.repulsion.is_on:
            learned = learned + self.repulsion(features.distances, molecules)
        energies = (learned * self.scale).to(torch.float64) + self.shift + self.reference[numbers]
        values = {self.target.name: molecules.sum(energies), "energies": energies}
        return values | {name: energies - self.reference[numbers] for name in self.companions}


class PairRepulsion(nn.Module):
    """E_ij = k Z_i Z_j phi(r / a) u(r) / r up to the sum of covalent radii, half to each atom.

    phi(x) = sum_k c_k exp(-d_k x), a = l a0 / (Z_i^s + Z_j^s): Ziegler, Biersack, Littmark, The
    Stopping and Range of Ions in Solids (1985), with the numbers of mace-torch. `power`, p of the
    envelope, is zero where there is no repulsion.
    """

    power: Tensor
    shares: Tensor
    length: Tensor
    exponent: Tensor
    radii: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("power", torch.tensor(0))
        self.register_buffer("shares", torch.tensor(_SHARES))
        self.register_buffer("length", torch.tensor(_LENGTH))
        self.register_buffer("exponent", torch.tensor(_EXPONENT))
        radii = [float(radius) for radius in data.covalent_radii[:N_ELEMENTS]]
        self.register_buffer("radii", torch.tensor(radii))

    @property
    def is_on(self) -> bool:
        """Whether there is any."""
        return bool(self.power > 0)

    def forward(self, distances: Tensor, molecules: Molecules) -> Tensor:
        """Return energies (N,), eV, of distances (E,), Å."""
        sender, receiver = molecules.edge_index
        numbers = molecules.atomic_numbers
        nuclei, radii = numbers.to(distances.dtype), self.radii[numbers]
        powers = nuclei**self.exponent
        scaled = distances * (powers[sender] + powers[receiver]) / (self.length * _BOHR)
        decays = distances.new_tensor(_DECAYS)
        screening = torch.exp(-scaled[:, None] * decays) @ self.shares
        reach = radii[sender] + radii[receiver]
        pairs = _COULOMB * nuclei[sender] * nuclei[receiver] / distances * screening
        pairs = 0.5 * pairs * polynomial_envelope(distances / reach, int(self.power))
        return distances.new_zeros(numbers.shape[0]).index_add(0, receiver, pairs)
