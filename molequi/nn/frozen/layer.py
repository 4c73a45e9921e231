"""One layer of a backbone with frozen weights: its forward pass and its gradient, written out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from molequi.kernels import inplace
from molequi.nn.contraction import SymmetricContraction
from molequi.nn.frozen.buffers import Buffers, Gradients, GraphPart, Inputs
from molequi.nn.frozen.maps import FrozenGate, PathMap
from molequi.nn.frozen.products import Contraction, Products, row_map
from molequi.nn.frozen.workspace import Workspace
from molequi.nn.interaction import Interaction
from molequi.nn.linear import IrrepsLinear, PathLinear
from molequi.o3.irreps import Irreps


class ElementTables(NamedTuple):
    """What the first layer makes of each element.

    up: h (S, rows, C). connection: what reaches the gate past the convolution, (S, M, C).
    """

    up: Tensor
    connection: Tensor

    def look_up(self, buffers: Buffers, part: GraphPart) -> None:
        """Do what `FrozenLayer.pre_convolution` does, for the first layer."""
        species = part.own(part.species)
        torch.index_select(self.up, 0, species, out=part.own(buffers.h))
        torch.index_select(self.connection, 0, species, out=part.own(buffers.before))


class FrozenLayer:
    """An `Interaction` with every W one product of all its maps.

    h = U x, A = P convolve(h), y = W_1 A + W_2 A A + W_3 A A A + S x, gate(y).
    The first layer of a network starts from `ElementTables`, the others from the features x.
    """

    def __init__(self, layer: Interaction) -> None:
        self.kernels, self.table, self.cutoff = layer.kernels, layer.table, layer.radial.cutoff
        self.splines = layer.tables()
        self.n_components, self.n_messages = (
            layer.irreps_out.dim,
            Irreps(dict.fromkeys(layer.table.output)).dim,
        )
        self.gate = FrozenGate(
            layer.gate.weight * layer.gate.weight.shape[0] ** -0.5,
            [irrep.dim for irrep in layer.gate.others],
        )
        half = 2**-0.5
        down = layer.linear_down.tables() if isinstance(layer.linear_down, IrrepsLinear) else None
        self.linear_paths = (
            PathMap(layer.linear_paths, half if down is None else 1.0)
            if isinstance(layer.linear_paths, PathLinear)
            else None
        )
        self.linear_up = layer.linear_up.tables()
        self.self_connection, self.species_table = (
            layer.self_connection,
            layer.self_connection.tables(),
        )
        self.connection = row_map(
            layer.self_connection.shared, layer.self_connection.linear.tables() * half, taken=True
        )
        self.product = None if down is None else _products_of(layer, down * half)

    def element_tables(self, elements: Tensor) -> ElementTables:
        """Return what this layer makes of the features (S, 1, C) of each element."""
        species = torch.arange(len(elements), device=elements.device)
        up = torch.bmm(elements.transpose(0, 1), self.linear_up).transpose(0, 1).contiguous()
        connection = elements.new_zeros(len(elements), self.n_components, elements.shape[2])
        self._connect(elements, species, connection)
        return ElementTables(up, connection)

    def _connect(self, x: Tensor, species: Tensor, out: Tensor) -> None:
        self.connection.add(
            self.self_connection.by_species(
                self.self_connection.shared.take(x), self.species_table, species
            ),
            out,
        )

    @property
    def n_raw(self) -> int:
        """Numbers per node of the raw messages that are not kept."""
        return 0 if self.linear_paths is None else self.table.output.dim * self.splines.shape[2]

    def buffers(self, n_nodes: int, workspace: Workspace, scratch: Tensor) -> Buffers:
        """Return memory for one pass; raw messages that are mixed at once lie in `scratch`."""
        n_channels = self.splines.shape[2]

        def empty(rows: int) -> Tensor:
            return workspace.empty(self.splines, n_nodes, rows, n_channels)

        powers = [
            empty(self.n_messages),
            *(empty(rows) for rows in (self.product.n_rows if self.product else ())),
        ]
        raw = (
            powers[0]
            if self.linear_paths is None
            else scratch[: n_nodes * self.n_raw].view(n_nodes, self.n_raw // n_channels, n_channels)
        )
        return Buffers(
            empty(len(self.linear_up)),
            raw,
            powers,
            empty(self.n_components),
            empty(len(self.gate.sizes)),
            empty(self.n_components),
        )

    def gradients(self, buffers: Buffers, inputs: Inputs, workspace: Workspace) -> Gradients:
        """Return memory for the gradient of one pass."""

        def like(x: Tensor) -> Tensor:
            return workspace.empty(x, *x.shape)

        powers = [like(power) for power in buffers.powers]
        largest = max(powers, key=torch.Tensor.numel)
        raw = powers[0] if self.linear_paths is None else buffers.raw
        return Gradients(
            like(buffers.h),
            raw,
            powers,
            (like(largest), like(largest)),
            like(buffers.before),
            inputs,
        )

    def pre_convolution(self, x: Tensor, buffers: Buffers, part: GraphPart) -> None:
        """Compute h and what reaches the gate past the convolution."""
        h, y, species = part.own(buffers.h), part.own(buffers.before), part.own(part.species)
        torch.bmm(part.own(x).transpose(0, 1), self.linear_up, out=h.transpose(0, 1))
        self._connect(part.own(x), species, y.zero_())

    def post_convolution(self, buffers: Buffers, part: GraphPart) -> None:
        """Compute the features from the h of all nodes."""
        edge_inputs = part.harmonics, part.distances, self.splines
        inplace.convolve(
            (buffers.h, *edge_inputs),
            part.edges,
            self.table,
            self.cutoff,
            self.kernels,
            buffers.raw,
            part.nodes,
        )
        messages, y = buffers.powers[0], part.own(buffers.before)
        if self.linear_paths is not None:
            self.linear_paths.forward(part.own(buffers.raw), part.own(messages))
        if self.product is not None:
            self.product.forward(buffers.powers, y, part)
        else:
            y.add_(part.own(messages), alpha=1.0 if self.linear_paths is not None else 2**-0.5)
        self.gate.forward(y, part.own(buffers.gates), part.own(buffers.out))

    def backward_nodes(
        self, g: Tensor, buffers: Buffers, gradients: Gradients, part: GraphPart
    ) -> None:
        """Compute the gradient with respect to the raw messages; g: of the features."""
        before = part.own(gradients.before)
        self.gate.gradient(part.own(buffers.before), part.own(buffers.gates), part.own(g), before)
        pull = part.own(gradients.powers[0])
        if self.product is not None:
            self.product.backward(before, buffers.powers, gradients, part)
        else:
            torch.mul(before, 1.0 if self.linear_paths is not None else 2**-0.5, out=pull)
        if self.linear_paths is not None:
            self.linear_paths.transposed(pull, part.own(gradients.raw))

    def backward_edges(self, buffers: Buffers, gradients: Gradients, part: GraphPart) -> None:
        """Compute the gradients with respect to harmonics, distances and h.

        From those of all nodes' raw messages.
        """
        inputs = buffers.h, part.harmonics, part.distances, self.splines, gradients.raw
        outputs = gradients.h, gradients.inputs.y, gradients.inputs.r
        inplace.convolve_gradient(
            inputs, part.edges, self.table, self.cutoff, self.kernels, outputs, part.nodes
        )

    def backward_input(self, gradients: Gradients, part: GraphPart) -> None:
        """Compute the gradient with respect to the features that the layer was given."""
        dx, before, connection = (
            part.own(gradients.inputs.x),
            part.own(gradients.before),
            self.self_connection,
        )
        torch.bmm(
            part.own(gradients.h).transpose(0, 1),
            self.linear_up.transpose(1, 2),
            out=dx.transpose(0, 1),
        )
        pull = before.new_zeros(
            len(before), connection.shared.irreps.dim, self.connection.n_channels_in
        )
        self.connection.add_transposed(before, pull)
        connection.shared.add_untaken(
            connection.by_species_transposed(pull, self.species_table, part.own(part.species)), dx
        )


def _products_of(layer: Interaction, down: Tensor) -> Products | Contraction:
    """Return what a layer does with messages, the maps after it multiplied with `down`."""
    product = layer.product
    if product is None:
        return Products(None, down)
    scale = layer.product_scale[layer.irrep_of_component, None, None]
    if isinstance(product, SymmetricContraction):
        return Contraction(product, down * scale)
    return Products(product, down * (product.scale * scale))
