"""The backbone with its weights at rest: forward pass and gradient written out, without a graph of autograd.

Predictions, dynamics and relaxations need the features and one gradient, with respect to harmonics and distances. Linear maps that follow one
another are then multiplied once, what the first layer makes of each element is a table, and a molecule of twenty atoms costs a quarter of the
operations. The numbers are those of `Backbone.forward` up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from molequi.kernels import Edges, bare
from molequi.nn.arena import Arena, ArenaPool
from molequi.nn.interaction import Interaction
from molequi.nn.linear import PathLinear
from molequi.nn.product import SharedRows
from molequi.nn.resting_maps import PathMix, RestingGate, RowMap
from molequi.symmetry.coupling import CouplingTable
from molequi.symmetry.irreps import n_rows


class Kept(NamedTuple):
    """What a layer keeps for its gradient. h: its features after the first map. powers: of the messages. before, gates: of the gate."""

    h: Tensor
    powers: list[Tensor]
    before: Tensor
    gates: Tensor


class RestingLayer:
    """An `Interaction`: h = U x, A = mix(convolve(h)), y = W_1 A + W_2 A A + W_3 A A A + S x, gate(y), each W one product of all its maps.

    elements: the features (S, 1, C) of each element where the layer is the first one, whose x and S x are tables then.
    """

    def __init__(self, layer: Interaction, elements: Tensor | None) -> None:
        self.kernels, self.table, self.cutoff = layer.kernels, layer.table, layer.radial.cutoff
        self.splines = layer.radial(layer.path_scale * layer.neighbor_count.rsqrt())
        self.n_rows_out = n_rows(layer.irreps_out)
        self.gate = RestingGate(layer.gate.weight * layer.gate.weight.shape[0] ** -0.5, [2 * l + 1 for l, _ in layer.gate.others])
        half = 2**-0.5
        is_direct = isinstance(layer.down, nn.Identity)
        self.mix = PathMix(layer.mix, half if is_direct else 1.0) if isinstance(layer.mix, PathLinear) else None
        self.up = layer.up._per_row()
        self.self_connection, self.species_table = layer.self_connection, layer.self_connection.table()
        self.connection = _row_map(layer.self_connection.rows, layer.self_connection.linear._per_row() * half, taken=True)
        self.products: list[tuple[CouplingTable, Tensor]] = []
        self.maps: list[RowMap] = []
        if not is_direct:
            self._set_update(layer, layer.down._per_row() * half)
        self.element_up = self.element_connection = None
        if elements is not None:
            species = torch.arange(len(elements), device=elements.device)
            self.element_up = torch.bmm(elements.transpose(0, 1), self.up).transpose(0, 1).contiguous()
            self.element_connection = elements.new_zeros(len(elements), self.n_rows_out, elements.shape[2])
            self._connect(elements, species, self.element_connection)

    def _set_update(self, layer: Interaction, down: Tensor) -> None:
        """Multiply the maps of each power of the messages with those that follow."""
        if layer.product is None:
            rows = list(range(self.n_rows_out))
            self.maps = [RowMap(rows, rows, down)]
            return
        product = layer.product
        after = down * (product.scale * layer.product_scale[layer.irrep_of_row, None, None])
        for projection in product.linears:
            rows = projection.rows
            self.maps.append(_row_map(rows, torch.bmm(projection.linear._per_row(), after.index_select(0, rows.rows_out))))
        for order, (table, weight) in enumerate(zip(product.tables, product.species_weights, strict=True)):
            self.products.append((table, weight * getattr(product, f"path_scale_{order}")))

    def _connect(self, x: Tensor, species: Tensor, out: Tensor) -> None:
        self.connection.add(self.self_connection.spread(self.self_connection.rows.take(x), self.species_table, species), out)

    def forward(self, x: Tensor | None, harmonics: Tensor, distances: Tensor, edges: Edges, species: Tensor, arena: Arena) -> tuple[Tensor, Kept]:
        """Return the features (N, M_out, C) of this layer, a buffer of the arena; x is None for the first one."""
        n_nodes, n_channels = len(species), self.splines.shape[2]
        h, y = (arena.empty(self.splines, n_nodes, rows, n_channels) for rows in (len(self.up), self.n_rows_out))
        if x is None:
            torch.index_select(self.element_up, 0, species, out=h)
            torch.index_select(self.element_connection, 0, species, out=y)
        else:
            torch.bmm(x.transpose(0, 1), self.up, out=h.transpose(0, 1))
            self._connect(x, species, y.zero_())
        messages = arena.empty(h, n_nodes, n_rows(self.table.output), n_channels)
        bare.convolve(h, harmonics, distances, self.splines, edges, self.table, self.cutoff, self.kernels, messages)
        if self.mix is not None:
            messages = self.mix.forward(messages, arena)
        powers = [messages]
        for table, weights in self.products:
            powers.append(arena.empty(h, n_nodes, n_rows(table.output), n_channels))
            bare.couple(powers[-2], messages, weights, species, table, powers[-1])
        for row_map, power in zip(self.maps, powers, strict=False):
            row_map.add(power, y)
        if not self.maps:
            y += messages if self.mix is not None else messages * 2**-0.5
        out, gates = self.gate.forward(y, arena)
        return out, Kept(h, powers, y, gates)

    def gradient(
        self, g: Tensor, kept: Kept, harmonics: Tensor, distances: Tensor, edges: Edges, species: Tensor, arena: Arena
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return the gradients with respect to x (None for the first layer), harmonics and distances; g: of the features."""
        g = self.gate.gradient(kept.before, kept.gates, g, arena)
        raw = self._messages_gradient(g, kept.powers, species, arena)
        if self.mix is not None:
            raw = self.mix.transposed(raw, arena)
        dh, dy, dr = gradients = [arena.empty(x, *x.shape) for x in (kept.h, harmonics, distances)]
        bare.convolve_gradient(kept.h, harmonics, distances, self.splines, raw, edges, self.table, self.cutoff, self.kernels, gradients)
        if self.element_up is not None:
            return None, dy, dr
        dx = arena.empty(dh, *dh.shape)
        torch.bmm(dh.transpose(0, 1), self.up.transpose(1, 2), out=dx.transpose(0, 1))
        rows = self.self_connection.rows
        pull = arena.zeros(g, g.shape[0], n_rows(rows.irreps), self.connection.n_channels_in)
        self.connection.add_transposed(g, pull)
        return rows.add_untaken(self.self_connection.spread_transposed(pull, self.species_table, species), dx), dy, dr

    def _messages_gradient(self, g: Tensor, powers: list[Tensor], species: Tensor, arena: Arena) -> Tensor:
        if not self.maps:
            return g if self.mix is not None else g * 2**-0.5
        pulls = [arena.zeros(power, *power.shape) for power in powers]
        for row_map, pull in zip(self.maps, pulls, strict=True):
            row_map.add_transposed(g, pull)
        for order in range(len(self.products) - 1, -1, -1):
            table, weights = self.products[order]
            both = first, second = [arena.empty(x, *x.shape) for x in (powers[order], powers[0])]
            bare.couple_gradient(powers[order], powers[0], weights, pulls[order + 1], species, table, both)
            pulls[order] += first
            pulls[0] += second
        return pulls[0]


def _row_map(rows: SharedRows, weight: Tensor, *, taken: bool = False) -> RowMap:
    """The map of shared rows; with `taken` its input has these rows only."""
    return RowMap(list(range(len(weight))) if taken else rows.rows_in.tolist(), rows.rows_out.tolist(), weight)


class RestingLayers:
    """The layers of a backbone written out, and the buffers that their passes use."""

    def __init__(self, embedding: Tensor, layers: Sequence[Interaction]) -> None:
        self.layers = [RestingLayer(layer, None if number else embedding[:, None, :]) for number, layer in enumerate(layers)]
        self.arenas = ArenaPool()


class RestingPass(torch.autograd.Function):
    """All layers: harmonics (E, rows), distances (E,), Å -> features (N, M_out, C) and invariants (N, n_layers * C)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, harmonics: Tensor, distances: Tensor, resting: RestingLayers, edges: Edges, species: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run the layers and keep what their gradients need."""
        x, invariants, ctx.kept, arena = None, [], [], resting.arenas.take()
        for layer in resting.layers:
            x, kept = layer.forward(x, harmonics, distances, edges, species, arena)
            ctx.kept.append(kept)
            invariants.append(x[:, 0])
        features, invariant = x.clone(), torch.cat(invariants, dim=1)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(harmonics, distances)
            ctx.rest = resting, edges, species, arena
        else:
            resting.arenas.give_back(arena)
        return features, invariant

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, g: Tensor, of_invariants: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the layers; once, because their buffers are given back."""
        (harmonics, distances), (resting, edges, species, arena) = ctx.saved_tensors, ctx.rest
        ctx.rest = None
        total_y, total_r, g = torch.zeros_like(harmonics), torch.zeros_like(distances), g.clone()
        parts = of_invariants.chunk(len(resting.layers), dim=1)
        for layer, kept, part in zip(reversed(resting.layers), reversed(ctx.kept), reversed(parts), strict=True):
            g[:, 0] += part
            g, dy, dr = layer.gradient(g, kept, harmonics, distances, edges, species, arena)
            total_y += dy
            total_r += dr
        resting.arenas.give_back(arena)
        return total_y, total_r, None, None, None
