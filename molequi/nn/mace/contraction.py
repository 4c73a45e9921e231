"""The symmetric contraction of MACE: all products of up to three messages of an atom."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molequi.kernels import couple
from molequi.nn.linear import expand_irreps
from molequi.nn.product import SharedIrreps
from molequi.nn.weight_tables import WeightTables
from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps
from molequi.o3.symmetric import cubic_basis


def path_counts(table: CouplingTable) -> Tensor:
    """Return the number of paths into the output of each path: (P,)."""
    outputs = torch.tensor([path.output for path in table.paths], dtype=torch.int64)
    return torch.bincount(outputs, minlength=1)[outputs]


class SymmetricContraction(WeightTables[list[Tensor]]):
    """B = w1 A + w2 (A A) + w3 ((A A) A), channel by channel, weights by the species of the atom.

    Batatia et al., MACE, NeurIPS 2022, eqs. 10 and 11. The paths of each degree are a basis of the
    equivariant polynomials: `o3.symmetric`.
    features: (N, rows of irreps_in, C); species: (N,) -> (N, rows of irreps_out, C).
    """

    ones: Tensor

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
        self.shared = SharedIrreps(irreps_in, irreps_out)
        self.squares = coupling_table(irreps_in, irreps_in, irreps_out, symmetric=True)
        chain = cubic_basis(irreps_in, irreps_out)
        self.pairs, self.cubes = chain
        counts = [len(self.shared.irreps), len(self.squares.paths), len(self.cubes.paths)]
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_elements, count, n_channels))
            for count in counts[:correlation]
        )
        ones = torch.ones(1, len(self.pairs.paths), n_channels)
        self.register_buffer("ones", ones, persistent=False)

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Return the products."""
        linear, *others = self.tables()
        factors = expand_irreps(linear[species], self.shared.irreps, dim=1)
        total = self.shared.place(self.shared.take(features) * factors)
        for table, weights in zip((self.squares, self.cubes), others, strict=False):
            first = features if table is self.squares else self._pairs(features, species)
            total = total + couple(first, features, weights, species, table, kernels=self.kernels)
        return total

    def make_tables(self) -> list[Tensor]:
        """Return the weights of each degree, (species, paths, C), over the roots of path counts."""
        linear, *others = self.weights
        tables = zip(others, (self.squares, self.cubes), strict=False)
        roots = ((weight, path_counts(table).to(weight).sqrt()) for weight, table in tables)
        return [linear, *(weight / root[:, None] for weight, root in roots)]

    def _pairs(self, features: Tensor, species: Tensor) -> Tensor:
        same = torch.zeros_like(species)
        return couple(features, features, self.ones, same, self.pairs, kernels=self.kernels)
