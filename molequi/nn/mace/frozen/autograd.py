"""MACE's layers written out, as one step of autograd from edge vectors to features."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from molequi.kernels import Edges, NodeRange, edge_geometry, threads
from molequi.nn.mace.frozen.gradient import gradient
from molequi.nn.mace.frozen.layers import FrozenMaceLayers, Run
from molequi.nn.mace.frozen.messages import Geometry
from molequi.nn.mace.frozen.splines import FrozenSplines


class Plan(NamedTuple):
    """What a pass takes beside edge vectors.

    vectors: of each layer the rows of its vectors that are asked for, none where there are not.
    """

    layers: FrozenMaceLayers
    splines: FrozenSplines
    edges: Edges
    species: Tensor
    n_harmonics: int
    vectors: tuple[slice, ...]


class FrozenMacePass(torch.autograd.Function):
    """Edge vectors (E, 3), Å -> features, invariants, vectors, distances.

    Features (N, M_out, C) of the last layer, invariants (N, layers * C), vectors (N, 3, layers *
    C), distances (E,), Å.
    """

    @staticmethod
    def forward(
        ctx: Any,  # torch's FunctionCtx lacks what torch gives its instances
        vectors: Tensor,
        plan: Plan,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the layers and keep what their gradients need."""
        layers, workspace = plan.layers, plan.layers.workspaces.take()
        like, nodes = layers.updates[0].weights, layers.node_ranges(plan.splines, plan.edges)
        harmonics = workspace.empty(like, len(vectors), plan.n_harmonics)
        distances = like.new_empty(len(vectors))

        def measure(of_thread: NodeRange) -> None:
            edges = _edges_of(plan.edges, of_thread)
            edge_geometry.write_forward(vectors, harmonics, distances, edges)

        threads.each(measure, nodes)
        edges = (plan.edges._replace(kinds=x) for x in (plan.splines.kinds, plan.splines.first))
        geometry = Geometry(harmonics, distances, *edges)
        run = layers.forward(geometry, plan.splines, plan.species, nodes, workspace)
        outs = [kept.update.out for kept in run.layers]
        invariants = torch.cat([out[:, 0] for out in outs], dim=1)
        rows = [out[:, own] for out, own in zip(outs, plan.vectors, strict=False)]
        found = torch.cat(rows, dim=2) if rows else invariants.new_empty(0)
        features = outs[-1].clone()
        if any(ctx.needs_input_grad):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(vectors)
            ctx.rest = plan, run
        else:
            layers.workspaces.give_back(workspace)
        return features, invariants, found, distances

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        g: Tensor | None,
        of_invariants: Tensor | None,
        of_vectors: Tensor | None,
        of_distances: Tensor | None,
    ) -> tuple[Tensor, None]:
        """Go back through the layers; once, because their buffers are given back."""
        (plan, run), ctx.rest, (vectors,) = ctx.rest, None, ctx.saved_tensors
        of_outs = _of_outs(plan, run, g, of_invariants, of_vectors)
        if of_distances is None:
            of_distances = torch.zeros_like(run.geometry.distances)
        found, out = gradient(plan.layers, run, of_outs, of_distances), torch.empty_like(vectors)

        def go_back(of_thread: NodeRange) -> None:
            edges = _edges_of(plan.edges, of_thread)
            edge_geometry.write_backward(vectors, *found, out, edges)

        threads.each(go_back, [atoms.nodes for atoms in run.atoms])
        plan.layers.workspaces.give_back(run.workspace)
        return out, None


def _edges_of(edges: Edges, nodes: NodeRange) -> NodeRange:
    """Return the edges into a range of atoms."""
    return NodeRange(*(int(edges.receiver_ptr[node]) for node in nodes))


def _of_outs(
    plan: Plan, run: Run, g: Tensor | None, of_invariants: Tensor | None, of_vectors: Tensor | None
) -> list[Tensor]:
    """Return the gradients of the features of every layer."""
    outs = [run.workspace.empty(x, *x.shape).zero_() for x in (y.update.out for y in run.layers)]
    if g is not None:
        outs[-1].copy_(g)
    if of_invariants is not None:
        for out, part in zip(outs, of_invariants.chunk(len(outs), dim=1), strict=True):
            out[:, 0] += part
    if of_vectors is not None and plan.vectors:
        parts = of_vectors.chunk(len(outs), dim=2)
        for out, rows, part in zip(outs, plan.vectors, parts, strict=True):
            out[:, rows] += part
    return outs
