"""The way back through the layers of `layers`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from molequi.kernels import NodeRange, scalar_messages, threads
from molequi.kernels.prepared import Geometry
from molequi.nn.mace.frozen.layers import FrozenMaceLayers, Run
from molequi.nn.mace.frozen.update import Atoms


class _Pulls(NamedTuple):
    """Gradients of a layer's messages (N, rows, C), and memory as large; of U h (N, rows, C)."""

    messages: np.ndarray
    scratch: np.ndarray
    up: np.ndarray


def gradient(
    layers: FrozenMaceLayers, run: Run, of_outs: Sequence[np.ndarray], of_distances: np.ndarray
) -> Geometry:
    """Return the gradients of the edges; of_outs: of each layer's features, overwritten.

    of_distances: (E,), of what else depends on these; overwritten.
    """
    memory, harmonics = run.memory, run.edges.geometry.harmonics
    total = Geometry(memory.empty(*harmonics.shape), of_distances)
    total.harmonics[:] = 0.0
    mark = memory.mark()
    for number in range(len(layers.updates) - 1, -1, -1):
        memory.restart(mark)  # one layer's gradients at a time
        pulls = _memory(layers, run, number)
        step = functools.partial(_nodes, layers, run, number, of_outs[number], pulls, total)
        threads.each(step, run.atoms)
        if number:
            found = Geometry(*(memory.empty(*x.shape) for x in total))
            outs = of_outs[number], of_outs[number - 1]
            step = functools.partial(_edges, layers, run, number, outs, pulls, found)
            threads.each(step, run.atoms)
            for whole, part in zip(total, found, strict=True):
                np.add(whole, part, out=whole)
        else:
            threads.each(functools.partial(_first, run, pulls.messages, total), run.atoms)
    return total


def _memory(layers: FrozenMaceLayers, run: Run, number: int) -> _Pulls:
    own, empty = run.layers[number], run.memory.empty
    messages = own.update.messages
    n_scratch = len(messages) if layers.updates[number].maps_messages else 0
    return _Pulls(
        empty(*messages.shape), empty(n_scratch, *messages.shape[1:]), empty(*own.up.shape)
    )


def _nodes(
    layers: FrozenMaceLayers,
    run: Run,
    number: int,
    g: np.ndarray,
    pulls: _Pulls,
    total: Geometry,
    atoms: Atoms,
) -> None:
    """Go from the features of these atoms back to their sums over edges."""
    own = run.layers[number]
    layers.updates[number].backward(g, own.update, pulls.messages, pulls.scratch, atoms)
    if len(own.counts):
        _undivide(run, number, pulls.messages, total.distances, atoms.nodes)
    if number:
        messages = layers.messages[number - 1]
        messages.pull_sums(pulls.messages, run.sums_of(messages), atoms)


def _undivide(
    run: Run, number: int, g: np.ndarray, of_distances: np.ndarray, nodes: NodeRange
) -> None:
    """Turn the gradient of messages into that of sums not divided by the density n of the atom.

    With A = S / n it is g / n, and n, a sum over edges, adds -g . A / n times its slopes to theirs.
    """
    own, walk, these = run.layers[number], run.edges.walk, slice(*nodes)
    counts, pull = own.counts[these], g[these]
    of_counts = -np.einsum("nkc,nkc->n", pull, own.update.messages[these]) / counts
    pull /= counts[:, None, None]
    edges = slice(*walk.receiver_ptr[[nodes.first, nodes.last]])
    of_edges = own.slopes[edges] * of_counts[walk.receiver[edges] - nodes.first]
    of_distances[edges] += of_edges


def _edges(
    layers: FrozenMaceLayers,
    run: Run,
    number: int,
    outs: tuple[np.ndarray, np.ndarray],
    pulls: _Pulls,
    found: Geometry,
    atoms: Atoms,
) -> None:
    """Go from the sums of all atoms back to the features that these atoms sent.

    outs: gradients of the features after this layer and before it, which is added to.
    """
    messages, update = layers.messages[number - 1], layers.updates[number]
    sums, splines = run.sums_of(messages), run.splines[number].radial
    after, before = outs
    out = pulls.up, found
    messages.backward(run.layers[number].up, splines, run.edges, sums, out, atoms)
    messages.pull_features(pulls.up, before, atoms)
    if update.is_residual:
        update.connection_back.add(after, before, atoms.sorted)


def _first(run: Run, g: np.ndarray, total: Geometry, atoms: Atoms) -> None:
    """Go from the messages of the first layer to the edges."""
    edges, radial = run.edges, run.splines[0].radial
    inputs = edges.geometry, radial, g, edges.first, edges.walk.receiver_ptr
    scalar_messages.add_backward(*inputs, total, atoms.nodes)
