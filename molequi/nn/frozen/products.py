"""What frozen layers make of messages before the gate: products and maps, and their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from molequi.kernels import inplace
from molequi.kernels.contraction_terms import name_of
from molequi.nn.contraction import SymmetricContraction
from molequi.nn.frozen.buffers import Gradients, GraphPart
from molequi.nn.frozen.maps import RowMap
from molequi.nn.product import ManyBodyProduct, SharedIrreps


class Products:
    """y += W_1 A + W_2 A A + W_3 A A A, or W_1 A alone; after: the maps that follow products."""

    def __init__(self, product: ManyBodyProduct | None, after: Tensor) -> None:
        if product is None:
            self.maps, self.steps = [_map_of_all(after)], []
            return
        self.maps = []
        for projection in product.linears:
            shared = projection.shared
            last = after.index_select(0, shared.components_out)
            self.maps.append(row_map(shared, torch.bmm(projection.linear.tables(), last)))
        self.steps = list(zip(product.couplings, product.tables(), strict=True))

    @property
    def n_rows(self) -> list[int]:
        """Rows of each product."""
        return [table.output.dim for table, _ in self.steps]

    def forward(self, powers: Sequence[Tensor], y: Tensor, part: GraphPart) -> None:
        """Write the products behind the messages, and add their maps to y."""
        for order, (table, weights) in enumerate(self.steps):
            inputs = powers[order], powers[0], weights, part.species
            inplace.couple(inputs, table, powers[order + 1], part.nodes)
        for row_map_, power in zip(self.maps, powers, strict=True):
            row_map_.add(part.own(power), y)

    def backward(
        self, before: Tensor, powers: Sequence[Tensor], gradients: Gradients, part: GraphPart
    ) -> None:
        """Write the gradients of the powers of these nodes' messages; before: that of y."""
        pulled, pulls = gradients.powers, [part.own(power) for power in gradients.powers]
        for row_map_, pull in zip(self.maps, pulls, strict=True):
            row_map_.add_transposed(before, pull.zero_())
        for order in range(len(self.steps) - 1, -1, -1):
            table, weights = self.steps[order]
            pair = [
                part.own_scratch(x, y)
                for x, y in zip(gradients.pair, (pulled[order], pulled[0]), strict=True)
            ]
            inputs = powers[order], powers[0], weights, pulled[order + 1], part.species
            inplace.couple_gradient(inputs, table, pair, part.nodes)
            pulls[order] += part.own(pair[0])
            pulls[0] += part.own(pair[1])


class Contraction:
    """y += W B(A): see `nn.contraction`."""

    def __init__(self, product: SymmetricContraction, after: Tensor) -> None:
        self.map, self.weights = _map_of_all(after), product.tables()
        self.polynomials, self.n_rows = name_of(product.polynomials), [len(after)]

    def forward(self, powers: Sequence[Tensor], y: Tensor, part: GraphPart) -> None:
        """Write B behind the messages, and add its map to y."""
        inputs = powers[0], self.weights, part.species
        inplace.contract(inputs, self.polynomials, powers[1], part.nodes)
        self.map.add(part.own(powers[1]), y)

    def backward(
        self, before: Tensor, powers: Sequence[Tensor], gradients: Gradients, part: GraphPart
    ) -> None:
        """Write the gradients of these nodes' messages and of B; before: that of y."""
        messages, products = gradients.powers
        self.map.add_transposed(before, part.own(products).zero_())
        inputs = powers[0], self.weights, products, part.species
        inplace.contract_gradient(inputs, self.polynomials, messages, part.nodes)


def row_map(shared: SharedIrreps, weight: Tensor, *, taken: bool = False) -> RowMap:
    """The map of shared components; with `taken` its input has these only."""
    components_in = list(range(len(weight))) if taken else shared.components_in.tolist()
    return RowMap(components_in, shared.components_out.tolist(), weight)


def _map_of_all(weight: Tensor) -> RowMap:
    """The map of every component to itself."""
    return RowMap(range(len(weight)), range(len(weight)), weight)
