"""The way back through the layers of `layers`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from molequi.kernels import NodeRange, scalar_messages, threads
from molequi.nn.mace.frozen.layers import FrozenMaceLayers, Run
from molequi.nn.mace.frozen.update import Atoms


class OfEdges(NamedTuple):
    """Gradients of harmonics (E, rows) and distances (E,)."""

    harmonics: Tensor
    distances: Tensor


class _Pulls(NamedTuple):
    """Gradients of a layer's messages (N, rows, C), and memory as large; of U h (N, rows, C)."""

    messages: Tensor
    scratch: Tensor
    up: Tensor


def gradient(
    layers: FrozenMaceLayers, run: Run, of_outs: Sequence[Tensor], of_distances: Tensor
) -> OfEdges:
    """Return the gradients of the edges; of_outs: of each layer's features, overwritten.

    of_distances: (E,), of what else depends on these.
    """
    workspace, geometry = run.workspace, run.geometry
    total = OfEdges(
        workspace.empty(geometry.harmonics, *geometry.harmonics.shape).zero_(),
        workspace.empty(of_distances, len(of_distances)).copy_(of_distances),
    )
    mark = workspace.mark()
    for number in range(len(layers.updates) - 1, -1, -1):
        workspace.restart(mark)  # one layer's gradients at a time
        pulls = _memory(layers, run, number)
        step = functools.partial(_nodes, layers, run, number, of_outs[number], pulls, total)
        threads.each(step, run.atoms)
        if number:
            found = OfEdges(*(workspace.empty(x, *x.shape) for x in total))
            outs = of_outs[number], of_outs[number - 1]
            step = functools.partial(_edges, layers, run, number, outs, pulls, found)
            threads.each(step, run.atoms)
            for sum_, part in zip(total, found, strict=True):
                sum_.add_(part)
        else:
            threads.each(functools.partial(_first, layers, run, pulls.messages, total), run.atoms)
    return total


def _memory(layers: FrozenMaceLayers, run: Run, number: int) -> _Pulls:
    own, empty = run.layers[number], run.workspace.empty
    messages = own.update.messages
    n_scratch = 0 if layers.updates[number].is_residual else len(messages)
    return _Pulls(
        empty(messages, *messages.shape),
        empty(messages, n_scratch, *messages.shape[1:]),
        empty(own.up, *own.up.shape),
    )


def _nodes(
    layers: FrozenMaceLayers,
    run: Run,
    number: int,
    g: Tensor,
    pulls: _Pulls,
    total: OfEdges,
    atoms: Atoms,
) -> None:
    """Go from the features of these atoms back to their sums over edges."""
    own = run.layers[number]
    layers.updates[number].backward(g, own.update, pulls.messages, pulls.scratch, atoms)
    if len(own.counts):
        _undivide(run, number, pulls.messages, total.distances, atoms.nodes)
    if number:
        messages = layers.messages[number - 1]
        messages.pull_sums(pulls.messages, run.sums_of(messages), atoms.nodes)


def _undivide(run: Run, number: int, g: Tensor, of_distances: Tensor, nodes: NodeRange) -> None:
    """Turn the gradient of messages into that of sums not divided by the density n of the atom.

    With A = S / n it is g / n, and n, a sum over edges, adds -g . A / n times its slopes to theirs.
    """
    own, edges = run.layers[number], run.geometry.edges
    counts, pull = nodes.of(own.counts), nodes.of(g)
    of_counts = -(pull * nodes.of(own.update.messages)).sum(dim=(1, 2)) / counts
    pull.div_(counts[:, None, None])
    first, last = (int(edges.receiver_ptr[node]) for node in nodes)
    places = edges.index[1, first:last] - nodes.first
    of_edges = own.slopes[first:last] * of_counts.index_select(0, places)
    of_distances[first:last].add_(of_edges)


def _edges(
    layers: FrozenMaceLayers,
    run: Run,
    number: int,
    outs: tuple[Tensor, Tensor],
    pulls: _Pulls,
    found: OfEdges,
    atoms: Atoms,
) -> None:
    """Go from the sums of all atoms back to the features that these atoms sent.

    outs: gradients of the features after this layer and before it, which is added to.
    """
    messages, update, nodes = layers.messages[number - 1], layers.updates[number], atoms.nodes
    sums, splines = run.sums_of(messages), run.splines.layers[number]
    after, before = outs
    out = pulls.up, *found
    messages.backward(run.layers[number].up, sums, splines, run.geometry, out, nodes)
    messages.pull_features(pulls.up, before, nodes)
    if update.is_residual:
        update.connection.add_transposed(nodes.of(after), nodes.of(before), atoms)


def _first(layers: FrozenMaceLayers, run: Run, g: Tensor, total: OfEdges, atoms: Atoms) -> None:
    """Go from the messages of the first layer to the edges."""
    edges = run.geometry
    tensors = edges.harmonics, edges.distances, run.splines.layers[0].radial, g
    scalar_messages.add_backward(tensors, edges.first, layers.cutoff, total, atoms.nodes)
