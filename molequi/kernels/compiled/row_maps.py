"""Linear maps of nodes' rows: out[i, k] += x[i, a] W, as `kernels.row_maps` describes them.

Products of matrices this small are paid for by calls more than by arithmetic, and rows of nodes lie
far apart. Four rows at a time are laid side by side in cache; what is read of a matrix serves all.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import jit

# Rows that go through a matrix together.
_TOGETHER = 4


@jit
def _multiply(w, x, out):
    """Add the products of the rows x (4, C_in) with a matrix to out (4, C)."""
    whole = len(w) - len(w) % 4
    for k in range(0, whole, 4):
        for c in range(w.shape[1]):
            w0, w1, w2, w3 = w[k, c], w[k + 1, c], w[k + 2, c], w[k + 3, c]
            out[0, c] += x[0, k] * w0 + x[0, k + 1] * w1 + x[0, k + 2] * w2 + x[0, k + 3] * w3
            out[1, c] += x[1, k] * w0 + x[1, k + 1] * w1 + x[1, k + 2] * w2 + x[1, k + 3] * w3
            out[2, c] += x[2, k] * w0 + x[2, k + 1] * w1 + x[2, k + 2] * w2 + x[2, k + 3] * w3
            out[3, c] += x[3, k] * w0 + x[3, k + 1] * w1 + x[3, k + 2] * w2 + x[3, k + 3] * w3
    for k in range(whole, len(w)):
        for n in range(_TOGETHER):
            for c in range(w.shape[1]):
                out[n, c] += x[n, k] * w[k, c]


@jit
def _map_rows(w, steps, nodes, x, out, rows, products):
    """Add the maps of one block, of all steps and nodes; rows, products: buffers of four rows."""
    n_steps = len(steps)
    n_rows = len(nodes) * n_steps
    for first in range(0, n_rows, _TOGETHER):
        n_own = min(_TOGETHER, n_rows - first)
        for n in range(n_own):
            i, a = nodes[(first + n) // n_steps], steps[(first + n) % n_steps, 0]
            for c in range(x.shape[2]):
                rows[n, c] = x[i, a, c]
        products[:] = 0
        _multiply(w, rows, products)
        for n in range(n_own):
            i, k = nodes[(first + n) // n_steps], steps[(first + n) % n_steps, 1]
            for c in range(out.shape[2]):
                out[i, k, c] += products[n, c]


@jit
def add(steps, starts, weights, nodes, species, x, out):
    """Add the map of these nodes, neighbours of which are of one species where that matters."""
    rows = np.zeros((_TOGETHER, x.shape[2]), x.dtype)
    products = np.empty((_TOGETHER, out.shape[2]), x.dtype)
    first = 0
    while first < len(nodes):
        own, last = 0, len(nodes)
        if len(weights) > 1:
            own, last = species[nodes[first]], first + 1
            while last < len(nodes) and species[nodes[last]] == own:
                last += 1
        for b in range(len(starts) - 1):
            of_block = steps[starts[b] : starts[b + 1]]
            _map_rows(weights[own, b], of_block, nodes[first:last], x, out, rows, products)
        first = last


@jit
def write(steps, starts, weights, nodes, species, x, out):
    """Write the map of these nodes to those rows of the output that it reaches."""
    for n in range(len(nodes)):
        for t in range(len(steps)):
            out[nodes[n], steps[t, 1]] = 0
    add(steps, starts, weights, nodes, species, x, out)
