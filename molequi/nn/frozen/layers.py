"""The layers of a backbone with frozen weights.

Forward pass and gradient written out, without a graph of autograd.

Predictions, dynamics and relaxations need the features and one gradient, with respect to harmonics
and distances. Linear maps that follow one another are then multiplied once, what the first layer
makes of each element is a table, and a molecule of twenty atoms costs a quarter of the operations.
A thread takes its share of the nodes from one convolution to the next, so that threads meet once a
layer. The numbers are those of `SphericalBackbone.forward` up to rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molequi.kernels import Edges, inplace, threads
from molequi.nn.frozen.maps import FrozenGate, PathMap, RowMap
from molequi.nn.frozen.workspace import Workspace, WorkspacePool
from molequi.nn.interaction import Interaction
from molequi.nn.linear import PathLinear
from molequi.nn.product import SharedIrreps
from molequi.o3.coupling import CouplingTable
from molequi.o3.irreps import Irreps

# Radial functions to evaluate that are worth a thread of their own: some milliseconds, for below
# that threads wait for each other.
_WORTH_A_THREAD = 1_000_000


class Buffers(NamedTuple):
    """What a layer computes, and keeps for its gradient; all (N, rows, C).

    h: features after the first map. raw: the messages as the convolution gives them, not kept where
    they are mixed. powers: of the messages.
    before, gates, out: of the gate.
    """

    h: Tensor
    raw: Tensor
    powers: list[Tensor]
    before: Tensor
    gates: Tensor
    out: Tensor


class Inputs(NamedTuple):
    """Gradients with respect to what a layer is given.

    Features x (N, M_in, C), harmonics y (E, rows), distances r (E,).
    """

    x: Tensor
    y: Tensor
    r: Tensor


class Gradients(NamedTuple):
    """Gradients with respect to what `Buffers` of the same names hold.

    Pair: those of the two factors of a product.
    """

    h: Tensor
    raw: Tensor
    powers: list[Tensor]
    pair: tuple[Tensor, Tensor]
    before: Tensor
    inputs: Inputs


class NodeRange(NamedTuple):
    """The graph as layers see it, and the range of nodes, `span`, that a thread serves."""

    harmonics: Tensor
    distances: Tensor
    edges: Edges
    species: Tensor
    span: tuple[int, int]

    def own(self, tensor: Tensor) -> Tensor:
        """Return the rows of this thread's nodes."""
        return tensor[self.span[0] : self.span[1]]

    def own_scratch(self, scratch: Tensor, like: Tensor) -> Tensor:
        """Return a tensor like (N, M, C) in scratch (N, M' >= M, C).

        This thread's nodes lie in what are its nodes of scratch too. Threads that are at different
        M then do not write into each other's nodes.
        """
        first = self.span[0] * (scratch.shape[1] - like.shape[1]) * like.shape[2]
        return scratch.flatten()[first : first + like.numel()].view(like.shape)


class FrozenLayer:
    """An `Interaction` with every W one product of all its maps.

    h = U x, A = P convolve(h), y = W_1 A + W_2 A A + W_3 A A A + S x, gate(y).
    elements: the features (S, 1, C) of each element where the layer is the first one, whose x and S
    x are tables then.
    """

    def __init__(self, layer: Interaction, elements: Tensor | None) -> None:
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
        is_direct = isinstance(layer.linear_down, nn.Identity)
        self.linear_paths = (
            PathMap(layer.linear_paths, half if is_direct else 1.0)
            if isinstance(layer.linear_paths, PathLinear)
            else None
        )
        self.linear_up = layer.linear_up.tables()
        self.self_connection, self.species_table = (
            layer.self_connection,
            layer.self_connection.tables(),
        )
        self.connection = _row_map(
            layer.self_connection.shared, layer.self_connection.linear.tables() * half, taken=True
        )
        self.products: list[tuple[CouplingTable, Tensor]] = []
        self.maps: list[RowMap] = []
        if not is_direct:
            self._set_update(layer, layer.linear_down.tables() * half)
        self.element_up = self.element_connection = None
        if elements is not None:
            species = torch.arange(len(elements), device=elements.device)
            self.element_up = (
                torch.bmm(elements.transpose(0, 1), self.linear_up).transpose(0, 1).contiguous()
            )
            self.element_connection = elements.new_zeros(
                len(elements), self.n_components, elements.shape[2]
            )
            self._connect(elements, species, self.element_connection)

    def _set_update(self, layer: Interaction, down: Tensor) -> None:
        """Multiply the maps of each power of the messages with those that follow."""
        if layer.product is None:
            rows = list(range(self.n_components))
            self.maps = [RowMap(rows, rows, down)]
            return
        product = layer.product
        after = down * (product.scale * layer.product_scale[layer.irrep_of_component, None, None])
        for projection in product.linears:
            shared = projection.shared
            last = after.index_select(0, shared.components_out)
            self.maps.append(_row_map(shared, torch.bmm(projection.linear.tables(), last)))
        self.products = list(zip(product.couplings, product.tables(), strict=True))

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

        def empty(rows: int) -> Tensor:
            return workspace.empty(self.splines, n_nodes, rows, self.splines.shape[2])

        powers = [
            empty(self.n_messages),
            *(empty(table.output.dim) for table, _ in self.products),
        ]
        raw = (
            powers[0]
            if self.linear_paths is None
            else scratch[: n_nodes * self.n_raw].view(n_nodes, -1, self.splines.shape[2])
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

    def pre_convolution(self, x: Tensor | None, buffers: Buffers, nodes: NodeRange) -> None:
        """Compute h and what reaches the gate past the convolution.

        X is None for the first layer.
        """
        h, y, species = nodes.own(buffers.h), nodes.own(buffers.before), nodes.own(nodes.species)
        if x is None:
            torch.index_select(self.element_up, 0, species, out=h)
            torch.index_select(self.element_connection, 0, species, out=y)
        else:
            torch.bmm(nodes.own(x).transpose(0, 1), self.linear_up, out=h.transpose(0, 1))
            self._connect(nodes.own(x), species, y.zero_())

    def post_convolution(self, buffers: Buffers, nodes: NodeRange) -> None:
        """Compute the features from the h of all nodes."""
        edge_inputs = nodes.harmonics, nodes.distances, self.splines
        inplace.convolve(
            (buffers.h, *edge_inputs),
            nodes.edges,
            self.table,
            self.cutoff,
            self.kernels,
            buffers.raw,
            nodes.span,
        )
        messages, y = buffers.powers[0], nodes.own(buffers.before)
        if self.linear_paths is not None:
            self.linear_paths.forward(nodes.own(buffers.raw), nodes.own(messages))
        for order, (table, weights) in enumerate(self.products):
            inputs = buffers.powers[order], messages, weights, nodes.species
            inplace.couple(inputs, table, buffers.powers[order + 1], nodes.span)
        for row_map, power in zip(self.maps, buffers.powers, strict=False):
            row_map.add(nodes.own(power), y)
        if not self.maps:
            y.add_(nodes.own(messages), alpha=1.0 if self.linear_paths is not None else 2**-0.5)
        self.gate.forward(y, nodes.own(buffers.gates), nodes.own(buffers.out))

    def backward_nodes(
        self, g: Tensor, buffers: Buffers, gradients: Gradients, nodes: NodeRange
    ) -> None:
        """Compute the gradient with respect to the raw messages; g: of the features."""
        before = nodes.own(gradients.before)
        self.gate.gradient(
            nodes.own(buffers.before), nodes.own(buffers.gates), nodes.own(g), before
        )
        pulled, pulls = gradients.powers, [nodes.own(power) for power in gradients.powers]
        if not self.maps:
            torch.mul(before, 1.0 if self.linear_paths is not None else 2**-0.5, out=pulls[0])
        for row_map, pull in zip(self.maps, pulls, strict=False):
            row_map.add_transposed(before, pull.zero_())
        for order in range(len(self.products) - 1, -1, -1):
            table, weights = self.products[order]
            pair = [
                nodes.own_scratch(x, y)
                for x, y in zip(gradients.pair, (pulled[order], pulled[0]), strict=True)
            ]
            inputs = (
                buffers.powers[order],
                buffers.powers[0],
                weights,
                pulled[order + 1],
                nodes.species,
            )
            inplace.couple_gradient(inputs, table, pair, nodes.span)
            pulls[order] += nodes.own(pair[0])
            pulls[0] += nodes.own(pair[1])
        if self.linear_paths is not None:
            self.linear_paths.transposed(pulls[0], nodes.own(gradients.raw))

    def backward_edges(self, buffers: Buffers, gradients: Gradients, nodes: NodeRange) -> None:
        """Compute the gradients with respect to harmonics, distances and the layer's input.

        From those of all nodes' raw messages.
        """
        inputs = buffers.h, nodes.harmonics, nodes.distances, self.splines, gradients.raw
        outputs = gradients.h, gradients.inputs.y, gradients.inputs.r
        inplace.convolve_gradient(
            inputs, nodes.edges, self.table, self.cutoff, self.kernels, outputs, nodes.span
        )
        if self.element_up is not None:
            # inputs.x of the first layer is never written: nobody reads it.
            return
        dx, before, connection = (
            nodes.own(gradients.inputs.x),
            nodes.own(gradients.before),
            self.self_connection,
        )
        torch.bmm(
            nodes.own(gradients.h).transpose(0, 1),
            self.linear_up.transpose(1, 2),
            out=dx.transpose(0, 1),
        )
        pull = before.new_zeros(
            len(before), connection.shared.irreps.dim, self.connection.n_channels_in
        )
        self.connection.add_transposed(before, pull)
        connection.shared.add_untaken(
            connection.by_species_transposed(pull, self.species_table, nodes.own(nodes.species)), dx
        )


def _row_map(shared: SharedIrreps, weight: Tensor, *, taken: bool = False) -> RowMap:
    """The map of shared components; with `taken` its input has these only."""
    components_in = list(range(len(weight))) if taken else shared.components_in.tolist()
    return RowMap(components_in, shared.components_out.tolist(), weight)


class FrozenLayers:
    """The layers of a backbone written out, and the buffers that their passes use."""

    def __init__(self, embedding: Tensor, layers: Sequence[Interaction]) -> None:
        self.layers = [
            FrozenLayer(layer, None if number else embedding[:, None, :])
            for number, layer in enumerate(layers)
        ]
        self.workspaces = WorkspacePool()

    def node_ranges(self, edges: Edges) -> list[tuple[int, int]]:
        """Share the nodes out among threads, which keep theirs until the next convolution."""
        cost = sum(layer.splines.shape[1] * layer.splines.shape[2] for layer in self.layers)
        return threads.cut(edges.receiver_ptr.numpy(), cost=cost, worth=_WORTH_A_THREAD)

    def forward(self, ranges: Sequence[NodeRange], workspace: Workspace) -> list[Buffers]:
        """Run the layers; the last one's features are the result."""
        n_nodes = len(ranges[0].species)
        scratch = workspace.empty(
            ranges[0].harmonics, n_nodes * max(layer.n_raw for layer in self.layers)
        )
        kept = [layer.buffers(n_nodes, workspace, scratch) for layer in self.layers]
        threads.each(lambda nodes: self.layers[0].pre_convolution(None, kept[0], nodes), ranges)
        for number in range(len(self.layers)):
            threads.each(functools.partial(self._forward_step, number, kept), ranges)
        return kept

    def _forward_step(self, number: int, kept: list[Buffers], nodes: NodeRange) -> None:
        self.layers[number].post_convolution(kept[number], nodes)
        if number + 1 < len(self.layers):
            self.layers[number + 1].pre_convolution(kept[number].out, kept[number + 1], nodes)

    def backward(
        self,
        g: Tensor,
        of_invariants: Sequence[Tensor],
        kept: list[Buffers],
        ranges: Sequence[NodeRange],
        workspace: Workspace,
    ) -> list[Inputs]:
        """Go back through the layers; g: gradient of the features, overwritten.

        Of_invariants: (N, C) of each layer's invariants.
        """
        like = [(buffers.h, ranges[0].harmonics, ranges[0].distances) for buffers in kept]
        inputs = [Inputs(*(workspace.empty(x, *x.shape) for x in tensors)) for tensors in like]
        mark = workspace.mark()
        for number in range(len(self.layers) - 1, -1, -1):
            layer, buffers = self.layers[number], kept[number]
            workspace.restart(mark)  # one layer's gradients at a time
            gradients = layer.gradients(buffers, inputs[number], workspace)
            g[:, 0] += of_invariants[number]
            threads.each(functools.partial(layer.backward_nodes, g, buffers, gradients), ranges)
            threads.each(functools.partial(layer.backward_edges, buffers, gradients), ranges)
            g = inputs[number].x
        return inputs
