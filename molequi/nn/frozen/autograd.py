"""The backbone's layers written out, as one step of autograd from edge vectors to features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from molequi.kernels import Edges, threads
from molequi.nn.frozen.buffers import GraphPart
from molequi.nn.frozen.layers import FrozenLayers

# Edges whose geometry is computed at a time.
_BLOCK = 2**13

Geometry = Callable[[Tensor, slice], tuple[Tensor, Tensor]]


class FrozenPass(torch.autograd.Function):
    """All layers: edge vectors (E, 3), Å -> features, invariants, distances.

    Features (N, M_out, C), invariants (N, n_layers * C), distances (E,), Å.
    geometry: vectors and which edges they are -> harmonics (E, rows) and distances (E,) in the
    model's dtype. It runs block by block, and again for its gradient.
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's FunctionCtx lacks what torch gives its instances
        vectors: Tensor,
        geometry: Geometry,
        layers: FrozenLayers,
        edges: Edges,
        species: Tensor,
        n_gradients: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layers and keep what their gradients need, which are asked for so many times."""
        workspace, ranges = layers.workspaces.take(), layers.node_ranges(edges)
        like, n_edges = layers.layers[0].splines, len(vectors)
        harmonics = workspace.empty(like, n_edges, layers.layers[0].table.second.dim)
        distances = like.new_empty(n_edges)

        def measure(block: slice) -> None:
            harmonics[block], distances[block] = geometry(vectors[block], block)

        _blockwise(measure, n_edges, len(ranges))
        parts = [GraphPart(harmonics, distances, edges, species, nodes) for nodes in ranges]
        kept = layers.forward(parts, workspace)
        features, invariant = (
            kept[-1].out.clone(),
            torch.cat([buffers.out[:, 0] for buffers in kept], dim=1),
        )
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(vectors)
            ctx.rest = geometry, layers, parts, kept, workspace
            ctx.mark, ctx.n_left = workspace.mark(), n_gradients
        else:
            layers.workspaces.give_back(workspace)
        return features, invariant, distances

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, g: Tensor, of_invariants: Tensor, of_distances: Tensor
    ) -> tuple[Tensor | None, ...]:
        """Go back through the layers; the last time their buffers are given back."""
        (geometry, layers, parts, kept, workspace), (vectors,) = ctx.rest, ctx.saved_tensors
        workspace.restart(ctx.mark)
        ctx.n_left -= 1
        if not ctx.n_left:
            ctx.rest = None
        inputs = layers.backward(
            g.clone(), of_invariants.chunk(len(kept), dim=1), kept, parts, workspace
        )
        out = torch.empty_like(vectors)

        def go_back(block: slice) -> None:
            with torch.enable_grad():
                part = vectors[block].detach().requires_grad_(True)
                sums = (
                    sum(x.y[block] for x in inputs),
                    sum((x.r[block] for x in inputs), start=of_distances[block]),
                )
                pairs = [
                    (value, total)
                    for value, total in zip(geometry(part, block), sums, strict=True)
                    if value.requires_grad
                ]
                (out[block],) = torch.autograd.grad(
                    [value for value, _ in pairs], part, [total for _, total in pairs]
                )

        _blockwise(go_back, len(vectors), len(parts))
        if not ctx.n_left:
            layers.workspaces.give_back(workspace)
        return out, None, None, None, None, None


def _blockwise(task: Callable[[slice], None], n_edges: int, n_threads: int) -> None:
    """Call task for blocks of edges that fit into the cache, shared out among threads."""
    blocks = [slice(first, min(first + _BLOCK, n_edges)) for first in range(0, n_edges, _BLOCK)]
    shares = [blocks[number::n_threads] for number in range(n_threads)]

    def run(share: list[slice]) -> None:
        for block in share:
            task(block)

    threads.each(run, [share for share in shares if share] or [[]])
