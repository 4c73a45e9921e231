"""One layer of MACE: messages, their products, and what an atom keeps of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.kernels import Edges, convolve, reference, splines
from molequi.nn.contraction import SymmetricContraction
from molequi.nn.linear import IrrepsLinear, PathLinear, Perceptron, expand_irreps
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
    first. cutoff: Å.
    """

    n_channels: int
    n_elements: int
    l_max: int
    correlation: int
    radial: tuple[int, ...]
    cutoff: float


class LayerSplines(NamedTuple):
    """The functions of distance of a layer as coefficients of splines, see `kernels.splines`.

    radial: R, ([kinds,] K + 3, paths, C), kinds as in `Edges`. shares: tanh(d^2), ([kinds,] K + 3,
    1, 1), where there is a density.
    """

    radial: Tensor
    shares: Tensor | None


class EdgeInputs(NamedTuple):
    """What layers see of the edges.

    harmonics: (E, (l_max + 1)^2). distances: (E,), Å. scalars: what radial networks see, not needed
    where there are splines.
    """

    edges: Edges
    harmonics: Tensor
    distances: Tensor
    scalars: EdgeScalars | None


class MaceInteraction(nn.Module):
    """h' = L B(A) + S_z h with residual, h' = L B(S_z A) without.

    A_i = L sum_e sum_p CG_p (L h_j) Y_e R_p(r_e) / n, and B is `SymmetricContraction`. n is a
    constant, the mean neighbour count of the training set, or with density 1 + sum_e tanh(d(r_e)^2)
    of the atom itself. Batatia et al., MACE, NeurIPS 2022, eqs. 8 to 12; the four blocks are those
    of mace-torch 0.3.16, module `blocks`. R and tanh(d^2) are networks of each edge's length, or
    `LayerSplines` through them.

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
        self.cutoff, self.kernels = sizes.cutoff, "reference"
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
        self, features: Tensor, inputs: EdgeInputs, species: Tensor, of_layer: LayerSplines | None
    ) -> Tensor:
        """Update the features: (N, M_in, C) -> (N, M_out, C); by networks where no splines are."""
        messages = self.messages(features, inputs, of_layer)
        if not self.is_residual:
            messages = self.self_connection(messages, species)
        updated = self.linear_down(self.contraction(messages, species))
        return updated + self.self_connection(features, species) if self.is_residual else updated

    def use_kernels(self, kernels: str) -> None:
        """Choose who computes the convolution and the products."""
        self.kernels = self.contraction.kernels = kernels

    def messages(
        self, features: Tensor, inputs: EdgeInputs, of_layer: LayerSplines | None
    ) -> Tensor:
        """Return A: (N, M_message, C)."""
        up, index = self.linear_up(features), inputs.edges.index
        if of_layer is not None:
            geometry = inputs.harmonics, inputs.distances, of_layer.radial, inputs.edges
            sums = convolve(up, *geometry, self.table, self.cutoff, kernels=self.kernels)
            shares = self._splined_shares(of_layer, inputs)
        elif inputs.scalars is not None:
            radial = self._radial(inputs.scalars)
            sums = reference.convolve_radial(up, inputs.harmonics, radial, index, self.table)
            shares = self._shares(inputs.scalars)
        else:
            raise ValueError("a layer without splines needs what its networks see of the edges")
        return self.linear_paths(sums) / self._count(shares, index[1], up)

    def splines(self, knots: EdgeScalars) -> LayerSplines:
        """Return the splines through the networks' values at the knots."""
        shares = self._shares(knots)
        # R is linear in what the last map of its network takes, which are fewer numbers.
        hidden = self.radial.hidden(self._seen(knots))
        hidden = splines.interpolate(hidden * knots.envelope if self.late_envelope else hidden)
        radial = self.radial.last(hidden)
        return LayerSplines(
            radial.unflatten(1, (len(self.table.paths), -1)),
            None if shares is None else splines.interpolate(shares[:, :, None]),
        )

    def _radial(self, scalars: EdgeScalars) -> Tensor:
        """Return R of each edge, (E, paths, C)."""
        radial = self.radial(self._seen(scalars))
        if self.late_envelope:
            radial = radial * scalars.envelope
        return radial.unflatten(1, (len(self.table.paths), -1))

    def _shares(self, scalars: EdgeScalars) -> Tensor | None:
        """Return what each edge adds to the density of its receiver, (E, 1); None without one."""
        if self.density is None:
            return None
        shares = torch.tanh(self.density(self._seen(scalars)).square())
        return shares * scalars.envelope if self.late_envelope else shares

    def _splined_shares(self, of_layer: LayerSplines, inputs: EdgeInputs) -> Tensor | None:
        if of_layer.shares is None:
            return None
        edges = inputs.distances, self.cutoff, inputs.edges.kinds
        return splines.evaluate(of_layer.shares, *edges)[:, :, 0]

    def _seen(self, scalars: EdgeScalars) -> Tensor:
        """Return what networks take of the edges; zero makes zero, because they have no bias."""
        return scalars.basis if self.late_envelope else scalars.basis * scalars.envelope

    def _count(self, shares: Tensor | None, receiver: Tensor, features: Tensor) -> Tensor:
        """Return what sums over edges are divided by: a number, or one of each atom (N, 1, 1)."""
        if shares is None:
            return self.neighbor_count
        counts = features.new_ones(features.shape[0], 1).index_add(0, receiver, shares)
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
