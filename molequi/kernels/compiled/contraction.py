"""Polynomials of a node's features on the CPU.

Kernels over nodes that read a `contraction_terms.Program` from arrays, compiled once per dtype for
every network. A node's products of two factors stay in cache: no tensor of all nodes holds them.

Beside the letters of `kernels.products`: z are the rows of the program, dz their gradients.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import inline, jit


@inline
def _multiply(pairs, pair_values, x, z):
    """Write the rows of a node."""
    for a in range(x.shape[0]):
        for c in range(x.shape[1]):
            z[a, c] = x[a, c]
    z[x.shape[0] :] = 0
    for t in range(len(pairs)):
        row, a, b, value = pairs[t, 0], pairs[t, 1], pairs[t, 2], pair_values[t]
        for c in range(x.shape[1]):
            z[row, c] += value * x[a, c] * x[b, c]


@jit
def forward(
    pairs, pair_values, singles, groups, triples, triple_values, n_rows, first, last,
    x, w, species, out,
):  # fmt: skip
    """Write the sums of the nodes from `first` to `last`."""
    z, total = np.empty((n_rows, x.shape[2]), x.dtype), np.empty(x.shape[2], x.dtype)
    for i in range(first, last):
        _multiply(pairs, pair_values, x[i], z)
        out[i] = 0
        s = species[i]
        for t in range(len(singles)):
            p, row, k = singles[t, 0], singles[t, 1], singles[t, 2]
            for c in range(x.shape[2]):
                out[i, k, c] += w[s, p, c] * z[row, c]
        for n in range(len(groups)):
            p, k = groups[n, 0], groups[n, 1]
            total[:] = 0
            for t in range(groups[n, 2], groups[n, 3]):
                row, a, value = triples[t, 0], triples[t, 1], triple_values[t]
                for c in range(x.shape[2]):
                    total[c] += value * z[row, c] * x[i, a, c]
            for c in range(x.shape[2]):
                out[i, k, c] += w[s, p, c] * total[c]


@inline
def _pull_singles(singles, z, w, g, dz, dw):
    """Add what reaches the rows, and the weights of one species, by single rows."""
    for t in range(len(singles)):
        p, row, k = singles[t, 0], singles[t, 1], singles[t, 2]
        for c in range(z.shape[1]):
            dz[row, c] += w[p, c] * g[k, c]
        if len(dw) > 0:
            for c in range(z.shape[1]):
                dw[p, c] += z[row, c] * g[k, c]


@inline
def _pull_triples(groups, triples, triple_values, x, z, w, g, pull, dx, dz, dw):
    """Add what reaches features, rows and the weights of one species by rows times features."""
    for n in range(len(groups)):
        p, k = groups[n, 0], groups[n, 1]
        for c in range(x.shape[1]):
            pull[c] = w[p, c] * g[k, c]
        for t in range(groups[n, 2], groups[n, 3]):
            row, a, value = triples[t, 0], triples[t, 1], triple_values[t]
            for c in range(x.shape[1]):
                dz[row, c] += value * pull[c] * x[a, c]
            for c in range(x.shape[1]):
                dx[a, c] += value * pull[c] * z[row, c]
            if len(dw) > 0:
                for c in range(x.shape[1]):
                    dw[p, c] += value * g[k, c] * z[row, c] * x[a, c]


@inline
def _pull_pairs(pairs, pair_values, x, dz, dx):
    """Add to dx what has reached the rows."""
    for a in range(x.shape[0]):
        for c in range(x.shape[1]):
            dx[a, c] += dz[a, c]
    for t in range(len(pairs)):
        row, a, b, value = pairs[t, 0], pairs[t, 1], pairs[t, 2], pair_values[t]
        for c in range(x.shape[1]):
            dx[a, c] += value * dz[row, c] * x[b, c]
        for c in range(x.shape[1]):
            dx[b, c] += value * dz[row, c] * x[a, c]


@jit
def backward(
    pairs, pair_values, singles, groups, triples, triple_values, n_rows, first, last,
    x, w, g, species, dx, dw,
):  # fmt: skip
    """Write dx of the nodes from `first` to `last`, and what they add to dw.

    An empty dw is left out.
    """
    z, dz = np.empty((n_rows, x.shape[2]), x.dtype), np.empty((n_rows, x.shape[2]), x.dtype)
    pull = np.empty(x.shape[2], x.dtype)
    dw[:] = 0
    for i in range(first, last):
        s = species[i]
        own = dw[s] if len(dw) > 0 else z[:0]
        _multiply(pairs, pair_values, x[i], z)
        dz[:] = 0
        dx[i] = 0
        _pull_singles(singles, z, w[s], g[i], dz, own)
        _pull_triples(groups, triples, triple_values, x[i], z, w[s], g[i], pull, dx[i], dz, own)
        _pull_pairs(pairs, pair_values, x[i], dz, dx[i])
