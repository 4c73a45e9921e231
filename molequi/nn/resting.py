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
from torch.nn import functional

from molequi.kernels import Edges, bare
from molequi.nn.interaction import Interaction
from molequi.nn.linear import PathLinear, unit_gain
from molequi.nn.product import SharedRows
from molequi.symmetry.irreps import n_rows


class Run(NamedTuple):
    """Neighbouring rows of an input that are mapped to neighbouring rows of the output; weight: (rows, C, C)."""

    start_in: int
    start_out: int
    weight: Tensor

    def rows_in(self, features: Tensor) -> Tensor:
        """Return these rows first: (rows, N, C), a view."""
        return features.narrow(1, self.start_in, len(self.weight)).transpose(0, 1)

    def rows_out(self, features: Tensor) -> Tensor:
        """Return these rows first: (rows, N, C), a view."""
        return features.narrow(1, self.start_out, len(self.weight)).transpose(0, 1)


class RowMap:
    """A linear map from rows to rows, added to what is there: out[:, k] += in[:, a] W_k for the pairs (a, k) of `rows`."""

    def __init__(self, rows_in: Sequence[int], rows_out: Sequence[int], weight: Tensor) -> None:
        starts = [0, *(k for k in range(1, len(rows_in)) if (rows_in[k] - rows_in[k - 1], rows_out[k] - rows_out[k - 1]) != (1, 1)), len(rows_in)]
        pairs = zip(starts[:-1], starts[1:], strict=True)
        self.runs = [Run(rows_in[a], rows_out[a], weight[a:b].contiguous()) for a, b in pairs if b > a]

    def add(self, features: Tensor, out: Tensor) -> None:
        """Add the map of features (N, M_in, C) to out (N, M_out, C)."""
        for run in self.runs:
            run.rows_out(out).baddbmm_(run.rows_in(features), run.weight)

    def add_transposed(self, gradient: Tensor, out: Tensor) -> None:
        """Add the gradient with respect to the input: (N, M_out, C) -> (N, M_in, C)."""
        for run in self.runs:
            run.rows_in(out).baddbmm_(run.rows_out(gradient), run.weight.transpose(1, 2))


class PathMix:
    """`PathLinear` on the alternating rows of separate paths, without a copy."""

    def __init__(self, mix: PathLinear, factor: float) -> None:
        self.weights = [weight * factor for weight in mix._scaled()]
        self.sizes = [2 * l + 1 for l, _ in mix.irreps]
        self.counts, self.n_rows = mix.counts, sum(mix.sizes)

    def _parts(self, paths: Tensor, rows: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For each irrep its rows of the paths (2 l + 1, N, paths * C), of the output (2 l + 1, N, C), and the weight."""
        parts, start_in, start_out = [], 0, 0
        for size, count, weight in zip(self.sizes, self.counts, self.weights, strict=True):
            block = paths.narrow(1, start_in, size * count).unflatten(1, (size, count)).flatten(2).transpose(0, 1)
            parts.append((block, rows.narrow(1, start_out, size).transpose(0, 1), weight.expand(size, -1, -1)))
            start_in, start_out = start_in + size * count, start_out + size
        return parts

    def forward(self, paths: Tensor) -> Tensor:
        """Map (N, rows of the separate paths, C) -> (N, M, C)."""
        out = paths.new_empty(paths.shape[0], sum(self.sizes), paths.shape[2])
        for block, rows, weight in self._parts(paths, out):
            torch.bmm(block, weight, out=rows)
        return out

    def transposed(self, gradient: Tensor) -> Tensor:
        """Map the gradient back: (N, M, C) -> (N, rows of the separate paths, C)."""
        out = gradient.new_empty(gradient.shape[0], self.n_rows, gradient.shape[2])
        for block, rows, weight in self._parts(out, gradient):
            torch.bmm(rows, weight.transpose(1, 2), out=block)
        return out


class RestingGate:
    """`Gate` and its gradient."""

    def __init__(self, weight: Tensor, sizes: Sequence[int]) -> None:
        self.weight, self.sizes = weight, sizes
        self.silu_gain, self.gate_gain = unit_gain(functional.silu), unit_gain(torch.sigmoid)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated features (N, M, C) and the gates (N, irreps * C), to be kept."""
        out, scalars = torch.empty_like(x), x[:, 0]
        out[:, 0] = functional.silu(scalars) * self.silu_gain
        gates = torch.sigmoid(scalars @ self.weight)
        for rows_in, rows_out, one in zip(*self._split(x, out), gates.split(x.shape[2], dim=1), strict=False):
            torch.mul(rows_in, (one * self.gate_gain)[:, None], out=rows_out)
        return out, gates

    def gradient(self, x: Tensor, gates: Tensor, g: Tensor) -> Tensor:
        """Return the gradient with respect to x."""
        out, scalars = torch.empty_like(x), x[:, 0]
        sigmoid = torch.sigmoid(scalars)
        own = g[:, 0] * (sigmoid * (1.0 + scalars * (1.0 - sigmoid)) * self.silu_gain)
        pulls = []
        for rows_x, rows_g, rows_out, one in zip(*self._split(x, g, out), gates.split(x.shape[2], dim=1), strict=False):
            torch.mul(rows_g, (one * self.gate_gain)[:, None], out=rows_out)
            pulls.append((rows_g * rows_x).sum(dim=1))
        if pulls:
            own = own + (torch.cat(pulls, dim=1) * (gates * (1.0 - gates) * self.gate_gain)) @ self.weight.T
        out[:, 0] = own
        return out

    def _split(self, *features: Tensor) -> list[tuple[Tensor, ...]]:
        return [x[:, 1:].split(self.sizes, dim=1) if self.sizes else () for x in features]


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
        self.connection_rows = layer.self_connection.rows
        self.factors = layer.self_connection.factors.repeat_interleave(torch.tensor([2 * l + 1 for l, _ in self.connection_rows.irreps]), dim=1)
        self.connection = _row_map(self.connection_rows, layer.self_connection.linear._per_row() * half, taken=True)
        self.products: list[tuple[str, Tensor]] = []
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
            self.products.append((bare.name_of(table), weight * getattr(product, f"path_scale_{order}")))

    def _connect(self, x: Tensor, species: Tensor, out: Tensor) -> None:
        self.connection.add(self.connection_rows.take(x) * self.factors.index_select(0, species), out)

    def forward(self, x: Tensor | None, harmonics: Tensor, distances: Tensor, edges: Edges, species: Tensor) -> tuple[Tensor, Kept]:
        """Return the features (N, M_out, C) of this layer; x is None for the first one."""
        if x is None:
            h, y = self.element_up.index_select(0, species), self.element_connection.index_select(0, species)
        else:
            h = x.new_empty(x.shape[0], len(self.up), x.shape[2])
            torch.bmm(x.transpose(0, 1), self.up, out=h.transpose(0, 1))
            y = x.new_zeros(x.shape[0], self.n_rows_out, x.shape[2])
            self._connect(x, species, y)
        messages = bare.convolve(h, harmonics, distances, self.splines, edges, self.table, self.cutoff, self.kernels)
        if self.mix is not None:
            messages = self.mix.forward(messages)
        powers = [messages]
        for name, weights in self.products:
            powers.append(bare.couple(powers[-1], messages, weights, species, name))
        for row_map, power in zip(self.maps, powers, strict=False):
            row_map.add(power, y)
        if not self.maps:
            y += messages if self.mix is not None else messages * 2**-0.5
        out, gates = self.gate.forward(y)
        return out, Kept(h, powers, y, gates)

    def gradient(
        self, g: Tensor, kept: Kept, harmonics: Tensor, distances: Tensor, edges: Edges, species: Tensor
    ) -> tuple[Tensor | None, Tensor, Tensor]:
        """Return the gradients with respect to x (None for the first layer), harmonics and distances; g: of the features."""
        g = self.gate.gradient(kept.before, kept.gates, g)
        raw = self._messages_gradient(g, kept.powers, species)
        if self.mix is not None:
            raw = self.mix.transposed(raw)
        dh, dy, dr = bare.convolve_gradient(kept.h, harmonics, distances, self.splines, raw, edges, self.table, self.cutoff, self.kernels)
        if self.element_up is not None:
            return None, dy, dr
        dx = torch.bmm(dh.transpose(0, 1), self.up.transpose(1, 2)).transpose(0, 1)
        taken = g.new_zeros(g.shape[0], self.factors.shape[1], g.shape[2])
        self.connection.add_transposed(g, taken)
        return dx + self.connection_rows.untake(taken * self.factors.index_select(0, species), dx.shape[1]), dy, dr

    def _messages_gradient(self, g: Tensor, powers: list[Tensor], species: Tensor) -> Tensor:
        if not self.maps:
            return g if self.mix is not None else g * 2**-0.5
        pulls = [torch.zeros_like(power) for power in powers]
        for row_map, pull in zip(self.maps, pulls, strict=True):
            row_map.add_transposed(g, pull)
        for order in range(len(self.products) - 1, -1, -1):
            name, weights = self.products[order]
            first, second = bare.couple_gradient(powers[order], powers[0], weights, pulls[order + 1], species, name)
            pulls[order] += first
            pulls[0] += second
        return pulls[0]


def _row_map(rows: SharedRows, weight: Tensor, *, taken: bool = False) -> RowMap:
    """The map of shared rows; with `taken` its input has these rows only."""
    return RowMap(list(range(len(weight))) if taken else rows.rows_in.tolist(), rows.rows_out.tolist(), weight)


def rest(embedding: Tensor, layers: Sequence[Interaction]) -> list[RestingLayer]:
    """Write out the layers of a backbone."""
    return [RestingLayer(layer, None if number else embedding[:, None, :]) for number, layer in enumerate(layers)]


class RestingPass(torch.autograd.Function):
    """All layers: harmonics (E, rows), distances (E,), Å -> features (N, M_out, C) and invariants (N, n_layers * C)."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, harmonics: Tensor, distances: Tensor, layers: Sequence[RestingLayer], edges: Edges, species: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run the layers and keep what their gradients need."""
        x, invariants, ctx.kept = None, [], []
        for layer in layers:
            x, kept = layer.forward(x, harmonics, distances, edges, species)
            ctx.kept.append(kept)
            invariants.append(x[:, 0])
        ctx.save_for_backward(harmonics, distances)
        ctx.rest = layers, edges, species
        return x, torch.cat(invariants, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, g: Tensor, of_invariants: Tensor) -> tuple[Tensor | None, ...]:
        """Go back through the layers."""
        (harmonics, distances), (layers, edges, species) = ctx.saved_tensors, ctx.rest
        total_y, total_r, g = torch.zeros_like(harmonics), torch.zeros_like(distances), g.clone()
        parts = of_invariants.chunk(len(layers), dim=1)
        for layer, kept, part in zip(reversed(layers), reversed(ctx.kept), reversed(parts), strict=True):
            g[:, 0] += part
            g, dy, dr = layer.gradient(g, kept, harmonics, distances, edges, species)
            total_y += dy
            total_r += dr
        return total_y, total_r, None, None, None
