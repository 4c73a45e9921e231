"""MACE's layers written out, as one step of autograd from edge vectors to features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from molequi.kernels import Edges, NodeRange, edge_geometry, threads
from molequi.kernels.prepared import Geometry, walk_of
from molequi.nn.mace.frozen.gradient import gradient
from molequi.nn.mace.frozen.layers import FrozenMaceLayers, Run
from molequi.nn.mace.frozen.messages import EdgeArrays
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
        layers, splines, walk = plan.layers, plan.splines, walk_of(plan.edges)
        memory = layers.memories.take()
        distances = torch.empty(len(vectors), dtype=layers.dtype)
        geometry = Geometry(memory.empty(len(vectors), plan.n_harmonics), distances.numpy())
        nodes = layers.node_ranges(splines.layers, walk.receiver_ptr)
        measured = np.ascontiguousarray(vectors.detach().numpy())

        def measure(of_thread: NodeRange) -> None:
            edges = _edges_of(walk.receiver_ptr, of_thread)
            edge_geometry.write_forward(measured, geometry, edges)

        threads.each(measure, nodes)
        edges = EdgeArrays(geometry, walk, splines.kinds, splines.first)
        run = layers.forward(edges, splines.layers, plan.species.numpy(), nodes, memory)
        outs = [kept.update.out for kept in run.layers]
        invariants = np.concatenate([out[:, 0] for out in outs], axis=1)
        rows = [out[:, own] for out, own in zip(outs, plan.vectors, strict=False)]
        found = np.concatenate(rows, axis=2) if rows else np.empty(0, dtype=invariants.dtype)
        features = outs[-1].copy()
        if any(ctx.needs_input_grad):
            ctx.set_materialize_grads(False)
            ctx.rest = plan, run, measured
        else:
            layers.memories.give_back(memory)
        made = (torch.from_numpy(x) for x in (features, invariants, found))
        return (*made, distances)  # type: ignore[return-value]  # three of a generator

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
        (plan, run, vectors), ctx.rest = ctx.rest, None
        outs = _of_outs(plan, run, *(_array(x) for x in (g, of_invariants, of_vectors)))
        pull = run.memory.empty(len(vectors))
        pull[:] = 0.0 if of_distances is None else _array(of_distances)
        found, out = gradient(plan.layers, run, outs, pull), np.empty_like(vectors)

        def go_back(of_thread: NodeRange) -> None:
            edges = _edges_of(run.edges.walk.receiver_ptr, of_thread)
            edge_geometry.write_backward(vectors, found, out, edges)

        threads.each(go_back, [atoms.nodes for atoms in run.atoms])
        plan.layers.memories.give_back(run.memory)
        return torch.from_numpy(out), None


def _array(x: Tensor | None) -> np.ndarray | None:
    return None if x is None else x.detach().numpy()


def _edges_of(receiver_ptr: np.ndarray, nodes: NodeRange) -> NodeRange:
    """Return the edges into a range of atoms."""
    return NodeRange(*(int(receiver_ptr[node]) for node in nodes))


def _of_outs(
    plan: Plan,
    run: Run,
    g: np.ndarray | None,
    of_invariants: np.ndarray | None,
    of_vectors: np.ndarray | None,
) -> list[np.ndarray]:
    """Return the gradients of the features of every layer."""
    outs = [run.memory.empty(*kept.update.out.shape) for kept in run.layers]
    for out in outs:
        out[:] = 0.0
    if g is not None:
        outs[-1] += g
    if of_invariants is not None:
        for out, part in zip(outs, np.split(of_invariants, len(outs), axis=1), strict=True):
            out[:, 0] += part
    if of_vectors is not None and plan.vectors:
        parts = np.split(of_vectors, len(outs), axis=2)
        for out, rows, part in zip(outs, plan.vectors, parts, strict=True):
            out[:, rows] += part
    return outs
