"""The symmetric contraction of MACE: all products of up to three messages of an atom."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molequi.kernels import contract
from molequi.nn.weight_tables import WeightTables
from molequi.o3.coupling import CouplingTable
from molequi.o3.irreps import Irreps
from molequi.o3.symmetric import equivariant_polynomials, older_scales


class SymmetricContraction(WeightTables[Tensor]):
    """B = w1 A + w2 (A A) + w3 ((A A) A), channel by channel, weights by the species of the atom.

    Batatia et al., MACE, NeurIPS 2022, eqs. 10 and 11. The paths of each degree are a basis of the
    equivariant polynomials: `o3.symmetric`.
    features: (N, rows of irreps_in, C); species: (N,) -> (N, rows of irreps_out, C).
    """

    def __init__(
        self,
        irreps_in: Irreps,
        irreps_out: Irreps,
        n_channels: int,
        n_elements: int,
        *,
        correlation: int,
    ) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out, self.kernels = irreps_in, irreps_out, "reference"
        self.polynomials = equivariant_polynomials(irreps_in, irreps_out, correlation)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_elements, count, n_channels))
            for count in self.polynomials.counts
        )

    @property
    def tables_of_degrees(self) -> tuple[CouplingTable, CouplingTable]:
        """The tables whose paths the weights of degree 2 and 3 belong to."""
        return self.polynomials.squares, self.polynomials.cubes.triples

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Return the products."""
        return contract(features, self.tables(), species, self.polynomials, kernels=self.kernels)

    def of_today(self, weights: Tensor) -> Tensor:
        """Return weights of degree 3, (species, paths, C), of a file of before November 2026.

        Those that are of today, or of something else, are returned as they are.
        """
        if weights.dim() != 3 or weights.shape[1] == self.weights[2].shape[1]:
            return weights  # at once: the paths of then take a while to find
        scales = older_scales(self.irreps_in, self.irreps_out)
        if weights.shape[1] != len(scales):
            return weights
        kept = [path for path, scale in enumerate(scales) if scale]
        factors = weights.new_tensor([scales[path] for path in kept])
        return weights[:, kept] * factors[:, None]

    def make_tables(self) -> Tensor:
        """Return the weights by degree, (species, paths, C), over the roots of path counts."""
        linear, *others = self.weights
        tables = zip(others, self.tables_of_degrees, strict=False)
        scaled = (
            weight / weight.new_tensor(table.path_counts()).sqrt()[:, None]
            for weight, table in tables
        )
        return torch.cat([linear, *scaled], dim=1)
