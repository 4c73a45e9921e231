"""One layer of MACE: messages, their products, and what an atom keeps of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.kernels import reference
from molequi.nn.linear import IrrepsLinear, PathLinear, Perceptron, expand_irreps
from molequi.nn.mace.contraction import SymmetricContraction
from molequi.nn.mace.radial import EdgeScalars
from molequi.nn.matrices import Blocks, MatrixWeights
from molequi.nn.product import SharedIrreps
from molequi.nn.weight_tables import WeightTables
from molequi.o3.coupling import coupling_table
from molequi.o3.irreps import Irreps

BLOCKS = ("plain", "residual", "density", "density_residual")


class LayerSizes(NamedTuple):
    """Sizes that all layers of a network share.

    radial: widths of the radial networks before their last layer, the number of radial functions
    first.
    """

    n_channels: int
    n_elements: int
    l_max: int
    correlation: int
    radial: tuple[int, ...]


class MaceInteraction(nn.Module):
    """h' = L B(A) + S_z h with residual, h' = L B(S_z A) without.

    A_i = L sum_e sum_p CG_p (L h_j) Y_e R_p(r_e) / n, and B is `SymmetricContraction`. n is a
    constant, the mean neighbour count of the training set, or with density 1 + sum_e tanh(d(r_e)^2)
    of the atom itself. Batatia et al., MACE, NeurIPS 2022, eqs. 8 to 12; the four blocks are those
    of mace-torch 0.3.16, module `blocks`.

    messages: irreps of A. block: one of `BLOCKS`. late_envelope: the envelope multiplies R and
    tanh(d^2), not the radial functions that these are made of.
    """

    neighbor_count: Tensor

    def __init__(
        self,
        irreps: tuple[Irreps, Irreps],
        messages: Irreps,
        sizes: LayerSizes,
        block: str,
        late_envelope: bool,
    ) -> None:
        super().__init__()
        (irreps_in, self.irreps_out), n_channels = irreps, sizes.n_channels
        self.is_residual, self.late_envelope = block.endswith("residual"), late_envelope
        self.table = coupling_table(irreps_in, Irreps.natural(sizes.l_max), messages, separate=True)
        self.linear_up = IrrepsLinear(irreps_in, n_channels, n_channels)
        n_radial_out = len(self.table.paths) * n_channels
        self.radial = Perceptron((*sizes.radial, n_radial_out), bias=False)
        self.density = (
            Perceptron((sizes.radial[0], 1), bias=False) if block.startswith("density") else None
        )
        self.linear_paths = PathLinear(self.table.output, n_channels)
        messages = self.linear_paths.irreps
        kept = (irreps_in, self.irreps_out) if self.is_residual else (messages, messages)
        self.self_connection = SpeciesLinear(*kept, n_channels, sizes.n_elements)
        self.contraction = SymmetricContraction(
            messages, self.irreps_out, n_channels, sizes.n_elements, correlation=sizes.correlation
        )
        self.linear_down = IrrepsLinear(self.irreps_out, n_channels, n_channels)
        self.register_buffer("neighbor_count", torch.tensor(12.0))

    def forward(
        self,
        features: Tensor,
        harmonics: Tensor,
        scalars: EdgeScalars,
        edge_index: Tensor,
        species: Tensor,
    ) -> Tensor:
        """Update the features: (N, M_in, C) -> (N, M_out, C); harmonics (E, (l_max + 1)^2)."""
        messages = self.messages(features, harmonics, scalars, edge_index)
        if not self.is_residual:
            messages = self.self_connection(messages, species)
        updated = self.linear_down(self.contraction(messages, species))
        return updated + self.self_connection(features, species) if self.is_residual else updated

    def messages(
        self, features: Tensor, harmonics: Tensor, scalars: EdgeScalars, edge_index: Tensor
    ) -> Tensor:
        """Return A: (N, M_message, C)."""
        radial = self._of_edges(self.radial, scalars)
        if self.late_envelope:
            radial = radial * scalars.envelope
        radial = radial.unflatten(1, (-1, features.shape[2]))
        sums = reference.convolve_radial(
            self.linear_up(features), harmonics, radial, edge_index, self.table
        )
        return self.linear_paths(sums) / self._count(scalars, edge_index[1], features)

    def _of_edges(self, network: Perceptron, scalars: EdgeScalars) -> Tensor:
        """Return what a network makes of the edges; zero makes zero, because it has no bias."""
        return network(scalars.basis if self.late_envelope else scalars.basis * scalars.envelope)

    def _count(self, scalars: EdgeScalars, receiver: Tensor, features: Tensor) -> Tensor:
        """Return what sums over edges are divided by: a number, or one of each atom (N, 1, 1)."""
        if self.density is None:
            return self.neighbor_count
        shares = torch.tanh(self._of_edges(self.density, scalars).square())
        if self.late_envelope:
            shares = shares * scalars.envelope
        counts = features.new_ones(len(features), 1).index_add(0, receiver, shares)
        return counts[:, :, None]


class SpeciesLinear(WeightTables[Tensor], MatrixWeights):
    """S_z h: the channels of each irrep mixed by a matrix of the atom's species.

    It maps the irreps that input and output share.
    """

    def __init__(
        self, irreps_in: Irreps, irreps_out: Irreps, n_channels: int, n_elements: int
    ) -> None:
        super().__init__()
        self.shared = SharedIrreps(irreps_in, irreps_out)
        self.n_elements, self.n_channels = n_elements, n_channels
        # By its first dimension the matrices of the species, by its second those of the irreps.
        self.weight = nn.Parameter(
            torch.randn(n_elements * n_channels, len(self.shared.irreps) * n_channels)
        )

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Map (N, M_in, C), (N,) -> (N, M_out, C)."""
        shared, tables = self.shared.take(features), self.tables()
        out = torch.zeros_like(shared)
        for present in self._present(species):
            atoms = (species == present).nonzero()[:, 0]
            mixed = torch.bmm(shared.index_select(0, atoms).transpose(0, 1), tables[present])
            out = out.index_add(0, atoms, mixed.transpose(0, 1))
        return self.shared.place(out)

    def _present(self, species: Tensor) -> list[int]:
        """Return the species that occur; a program that is traced goes through all."""
        if torch.compiler.is_compiling():
            return list(range(self.n_elements))
        return species.unique().tolist()

    def make_tables(self) -> Tensor:
        """Return the scaled weights of each species and component: (S, M, C, C)."""
        sizes = self.n_elements, self.n_channels, len(self.shared.irreps), self.n_channels
        scaled = (self.weight * self.n_channels**-0.5).reshape(sizes).transpose(1, 2)
        return expand_irreps(scaled, self.shared.irreps, dim=1)

    def matrices(self) -> Iterator[tuple[nn.Parameter, Blocks]]:
        """Name the matrices of species and irreps."""
        yield self.weight, Blocks(self.n_elements, len(self.shared.irreps))
