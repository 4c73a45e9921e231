"""Readouts: one value per atom for each irrep, from node features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molequi.nn.backbones.base import NodeFeatures
from molequi.nn.heads.base import FeatureSpec
from molequi.nn.linear import Perceptron, gate
from molequi.o3.irreps import Irrep, Irreps

_PSEUDOSCALAR, _VECTOR = Irrep.parse("0o"), Irrep.parse("1o")


class TripleProducts(nn.Module):
    """Pseudoscalars t_k = (a_k x b_k) . c_k of three vectors.

    Each vector is mixed by its own map from the channels of the 1o rows. Three different maps are
    needed: a product of a vector with itself has no hand. With maps to 1, p and p^2, p the rank of
    a neighbour, t is the signed volume of ranked neighbours, which is what R and S mean.
    """

    def __init__(self, n_channels: int, n_products: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(n_channels, 3 * n_products))

    def forward(self, vectors: Tensor) -> Tensor:
        """Map (N, 3, C) -> (N, 1, n_products)."""
        # As a batched product: the operator @ rounds differently where weights have gradients.
        maps = (self.maps * len(self.maps) ** -0.5).expand(3, -1, -1)
        a, b, c = torch.bmm(vectors.transpose(0, 1), maps).chunk(3, dim=2)
        return (torch.linalg.cross(a, b, dim=0) * c).sum(dim=0)[:, None, :] * 6**-0.5


class TensorReadout(nn.Module):
    """One value per atom for each irrep: a scalar network for 0e, gated linear maps for the rest.

    v_i = sum_c w_c h_ic g_c(invariants): the gate is 0e, so the value has the irrep of its rows and
    no bias. Beside the 0o rows stand as many triple products of the 1o rows, where there are any.
    """

    def __init__(self, irreps: Irreps, features: FeatureSpec) -> None:
        super().__init__()
        irreps_in, n_channels, n_invariants, *_ = features
        self.irreps = irreps
        self.slices = dict(zip(irreps_in, irreps_in.slices(), strict=True))
        self.triples = (
            TripleProducts(n_channels, n_channels)
            if _PSEUDOSCALAR in irreps and _VECTOR in irreps_in
            else None
        )
        sizes = [
            1
            if irrep.is_scalar
            else 2 * n_channels
            if irrep == _PSEUDOSCALAR and self.triples is not None
            else n_channels
            for irrep in irreps
        ]
        self.networks = nn.ModuleList(
            Perceptron((n_invariants, features.n_hidden, size), last_bias=False) for size in sizes
        )
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(size))
            for irrep, size in zip(irreps, sizes, strict=True)
            if not irrep.is_scalar
        )

    def forward(self, features: NodeFeatures, scale: Tensor) -> Tensor:
        """Return the rows: (N, sum of 2 l + 1)."""
        parts, weights = [], iter(self.weights)
        for irrep, network, factor in zip(self.irreps, self.networks, scale, strict=True):
            scalars = network(features.invariant)
            if irrep.is_scalar:
                parts.append(scalars * factor)
            else:
                n_scalars = int(scalars.shape[1])  # a number, to tracers too: they round sizes
                weight = next(weights) * gate(scalars) * (factor * n_scalars**-0.5)
                parts.append(
                    torch.einsum("nmc,nc->nm", self._rows(irrep, features.equivariant), weight)
                )
        return torch.cat(parts, dim=1)

    def _rows(self, irrep: Irrep, features: Tensor) -> Tensor:
        rows = features[:, self.slices[irrep]]
        if irrep != _PSEUDOSCALAR or self.triples is None:
            return rows
        return torch.cat([rows, self.triples(features[:, self.slices[_VECTOR]])], dim=2)
