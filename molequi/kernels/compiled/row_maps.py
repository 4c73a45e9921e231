"""Linear maps of nodes' rows: out[i, k] += x[i, a] W, as `kernels.row_maps` describes them.

Products of matrices this small are paid for by calls more than by arithmetic. Four nodes go through
a matrix together, so that what is read of it serves all.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917

from __future__ import annotations

from molequi.kernels.compiled.compiling import jit

# Rows of a matrix that all nodes pass before the next ones: they stay in the first-level cache.
_TOGETHER = 32


@jit
def _map_four(w, first, last, x0, x1, x2, x3, out0, out1, out2, out3):
    """Add x[first:last] W[first:last] of four nodes to their rows of the output."""
    whole = last - (last - first) % 4
    for k in range(first, whole, 4):
        for c in range(w.shape[1]):
            w0, w1, w2, w3 = w[k, c], w[k + 1, c], w[k + 2, c], w[k + 3, c]
            out0[c] += x0[k] * w0 + x0[k + 1] * w1 + x0[k + 2] * w2 + x0[k + 3] * w3
            out1[c] += x1[k] * w0 + x1[k + 1] * w1 + x1[k + 2] * w2 + x1[k + 3] * w3
            out2[c] += x2[k] * w0 + x2[k + 1] * w1 + x2[k + 2] * w2 + x2[k + 3] * w3
            out3[c] += x3[k] * w0 + x3[k + 1] * w1 + x3[k + 2] * w2 + x3[k + 3] * w3
    for k in range(whole, last):
        for c in range(w.shape[1]):
            out0[c] += x0[k] * w[k, c]
            out1[c] += x1[k] * w[k, c]
            out2[c] += x2[k] * w[k, c]
            out3[c] += x3[k] * w[k, c]


@jit
def _map_one(w, first, last, x, out):
    """Add x[first:last] W[first:last] of one node."""
    whole = last - (last - first) % 4
    for k in range(first, whole, 4):
        for c in range(w.shape[1]):
            out[c] += (
                x[k] * w[k, c]
                + x[k + 1] * w[k + 1, c]
                + x[k + 2] * w[k + 2, c]
                + x[k + 3] * w[k + 3, c]
            )
    for k in range(whole, last):
        for c in range(w.shape[1]):
            out[c] += x[k] * w[k, c]


@jit
def _map_nodes(w, nodes, a, k, x, out):
    """Add the map of row a of these nodes to row k."""
    whole = len(nodes) - len(nodes) % 4
    for first in range(0, len(w), _TOGETHER):
        last = min(first + _TOGETHER, len(w))
        for n in range(0, whole, 4):
            i0, i1, i2, i3 = nodes[n], nodes[n + 1], nodes[n + 2], nodes[n + 3]
            _map_four(
                w, first, last, x[i0, a], x[i1, a], x[i2, a], x[i3, a],
                out[i0, k], out[i1, k], out[i2, k], out[i3, k],
            )  # fmt: skip
        for n in range(whole, len(nodes)):
            _map_one(w, first, last, x[nodes[n], a], out[nodes[n], k])


@jit
def add(steps, weights, nodes, species, x, out):
    """Add the map of these nodes, neighbours of which are of one species where that matters."""
    first = 0
    while first < len(nodes):
        own, last = 0, len(nodes)
        if len(weights) > 1:
            own, last = species[nodes[first]], first + 1
            while last < len(nodes) and species[nodes[last]] == own:
                last += 1
        for t in range(len(steps)):
            w = weights[own, steps[t, 2]]
            _map_nodes(w, nodes[first:last], steps[t, 0], steps[t, 1], x, out)
        first = last


@jit
def write(steps, weights, nodes, species, x, out):
    """Write the map of these nodes to those rows of the output that it reaches."""
    for n in range(len(nodes)):
        for t in range(len(steps)):
            out[nodes[n], steps[t, 1]] = 0
    add(steps, weights, nodes, species, x, out)
