"""Many-body features: products of a node's features with themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molequi.kernels import couple
from molequi.nn.linear import IrrepsLinear
from molequi.nn.module_list import ModuleListOf
from molequi.nn.weight_tables import WeightTables
from molequi.o3.coupling import CouplingTable, coupling_table
from molequi.o3.irreps import Irreps


def path_scale(table: CouplingTable) -> Tensor:
    """Return 1 / sqrt(number of paths into the same output), per path: (P, 1).

    Sums of paths then keep unit variance. No coarser than float32: no file holds these numbers, and
    a network that is built for one takes the file's number type only afterwards.
    """
    counts = torch.tensor(table.path_counts(), dtype=torch.float64)
    dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
    return counts.rsqrt()[:, None].to(dtype)


class ManyBodyProduct(WeightTables[list[Tensor]]):
    """B = L1 A + L2 (A A) + L3 ((A A) A), channel by channel, weights by the species of the node.

    Batatia et al., MACE, NeurIPS 2022, eqs. 10 and 11, with the three-fold product built by two
    pair couplings.
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
        pair_out = irreps_out if correlation == 2 else Irreps(sorted({*irreps_in, *irreps_out}))
        self.couplings = [coupling_table(irreps_in, irreps_in, pair_out, symmetric=True)]
        if correlation == 3:
            self.couplings.append(coupling_table(pair_out, irreps_in, irreps_out))
        self.species_weights = nn.ParameterList(
            nn.Parameter(torch.randn(n_elements, len(t.paths), n_channels)) for t in self.couplings
        )
        self.linears = ModuleListOf(
            _Projection(irreps, irreps_out, n_channels)
            for irreps in (irreps_in, *(t.output for t in self.couplings))
        )
        for order, table in enumerate(self.couplings):
            self.register_buffer(f"path_scale_{order}", path_scale(table), persistent=False)
        self.scale = (1 + len(self.couplings)) ** -0.5
        self.kernels = "reference"

    def forward(self, features: Tensor, species: Tensor) -> Tensor:
        """Return the many-body features."""
        weights = self.tables()
        total, power = self.linears[0](features), features
        for order, table in enumerate(self.couplings):
            power = couple(power, features, weights[order], species, table, kernels=self.kernels)
            total = total + self.linears[order + 1](power)
        return total * self.scale

    def make_tables(self) -> list[Tensor]:
        """Return the weights of each table, (species, paths, C), over the roots of path counts."""
        return [
            weight * self.get_buffer(f"path_scale_{order}").to(weight)
            for order, weight in enumerate(self.species_weights)
        ]


class _Projection(nn.Module):
    """A linear map from one list of irreps to another.

    Irreps that only one side has are dropped or zero.
    """

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps, n_channels: int) -> None:
        super().__init__()
        self.shared = SharedIrreps(irreps_in, irreps_out)
        self.linear = IrrepsLinear(self.shared.irreps, n_channels, n_channels)

    def forward(self, features: Tensor) -> Tensor:
        return self.shared.place(self.linear(self.shared.take(features)))


class SharedIrreps(nn.Module):
    """The components that two `Irreps` have in common.

    `take` cuts them out of the first layout, `place` puts them into the second.
    """

    components_in: Tensor
    components_out: Tensor

    def __init__(self, irreps_in: Irreps, irreps_out: Irreps) -> None:
        super().__init__()
        self.irreps = Irreps(irrep for irrep in irreps_out if irrep in irreps_in)
        self.n_out = irreps_out.dim
        self.identical_in = self.irreps == irreps_in
        self.identical_out = self.irreps == irreps_out
        self.register_buffer(
            "components_in", _components_of(self.irreps, irreps_in), persistent=False
        )
        self.register_buffer(
            "components_out", _components_of(self.irreps, irreps_out), persistent=False
        )

    def take(self, features: Tensor) -> Tensor:
        """Cut the shared components out: (N, M_in, C) -> (N, M_shared, C)."""
        return features if self.identical_in else features.index_select(1, self.components_in)

    def add_untaken(self, features: Tensor, out: Tensor) -> Tensor:
        """Add shared components (N, M_shared, C) to `out` (N, M_in, C) where `take` found them.

        Return it.
        """
        return (
            out.add_(features)
            if self.identical_in
            else out.index_add_(1, self.components_in, features)
        )

    def place(self, features: Tensor) -> Tensor:
        """Put shared components into the output layout, zeros elsewhere.

        (N, M_shared, C) -> (N, M_out, C).
        """
        if self.identical_out:
            return features
        out = features.new_zeros(features.shape[0], self.n_out, features.shape[2])
        return out.index_add(1, self.components_out, features)


def _components_of(wanted: Irreps, layout: Irreps) -> Tensor:
    components = range(layout.dim)
    return torch.tensor(
        [component for irrep in wanted for component in components[layout.slice_of(irrep)]],
        dtype=torch.int64,
    )
