"""The backward of the backward of `compiled.contraction`, as a directional derivative.

With F = <g, B(x, w)>, the gradients dx, dw and B itself are those of F by x, w and g. So what the
gradients of L = <u, dx> + <v, dw> are is how those three change along (u, v): one sweep forward and
one back that carry their derivatives along. The letters are those of `compiled.contraction`; beside
them t, of a letter, is its derivative.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import inline, jit


@inline
def _multiply(pairs, pair_values, x, u, z, tz):
    """Write the rows of a node and their derivatives."""
    for a in range(x.shape[0]):
        for c in range(x.shape[1]):
            z[a, c] = x[a, c]
            tz[a, c] = u[a, c]
    z[x.shape[0] :] = 0
    tz[x.shape[0] :] = 0
    for t in range(len(pairs)):
        row, a, b, value = pairs[t, 0], pairs[t, 1], pairs[t, 2], pair_values[t]
        for c in range(x.shape[1]):
            z[row, c] += value * x[a, c] * x[b, c]
            tz[row, c] += value * (u[a, c] * x[b, c] + x[a, c] * u[b, c])


@inline
def _singles(singles, z, tz, w, v, g, dz, tdz, tdw, tout):
    """Add what single rows do: to the output, to the rows and to the weights of one species."""
    for t in range(len(singles)):
        p, row, k = singles[t, 0], singles[t, 1], singles[t, 2]
        for c in range(z.shape[1]):
            tout[k, c] += w[p, c] * tz[row, c] + v[p, c] * z[row, c]
            dz[row, c] += w[p, c] * g[k, c]
            tdz[row, c] += v[p, c] * g[k, c]
            tdw[p, c] += tz[row, c] * g[k, c]


@inline
def _triples(
    groups, triples, triple_values, x, u, z, tz, w, v, g, sums, dz, tdz, tdx, tdw, tout
):  # fmt: skip
    """Add what rows times features do; sums (4, C): the sum of a group, w g, and derivatives."""
    for n in range(len(groups)):
        p, k = groups[n, 0], groups[n, 1]
        for c in range(x.shape[1]):
            sums[0, c] = 0
            sums[1, c] = 0
            sums[2, c] = w[p, c] * g[k, c]
            sums[3, c] = v[p, c] * g[k, c]
        for t in range(groups[n, 2], groups[n, 3]):
            row, a, value = triples[t, 0], triples[t, 1], triple_values[t]
            for c in range(x.shape[1]):
                sums[0, c] += value * z[row, c] * x[a, c]
                sums[1, c] += value * (tz[row, c] * x[a, c] + z[row, c] * u[a, c])
                dz[row, c] += value * sums[2, c] * x[a, c]
                tdz[row, c] += value * (sums[3, c] * x[a, c] + sums[2, c] * u[a, c])
            for c in range(x.shape[1]):
                tdx[a, c] += value * (sums[3, c] * z[row, c] + sums[2, c] * tz[row, c])
        for c in range(x.shape[1]):
            tout[k, c] += w[p, c] * sums[1, c] + v[p, c] * sums[0, c]
            tdw[p, c] += g[k, c] * sums[1, c]


@inline
def _pull_pairs(pairs, pair_values, x, u, dz, tdz, tdx):
    """Add the derivative of what has reached the rows, to the features."""
    for a in range(x.shape[0]):
        for c in range(x.shape[1]):
            tdx[a, c] += tdz[a, c]
    for t in range(len(pairs)):
        row, a, b, value = pairs[t, 0], pairs[t, 1], pairs[t, 2], pair_values[t]
        for c in range(x.shape[1]):
            tdx[a, c] += value * (tdz[row, c] * x[b, c] + dz[row, c] * u[b, c])
        for c in range(x.shape[1]):
            tdx[b, c] += value * (tdz[row, c] * x[a, c] + dz[row, c] * u[a, c])


@jit
def double_backward(
    pairs, pair_values, singles, groups, triples, triple_values, n_rows, first, last,
    x, w, g, u, v, species, tdx, tout, tdw,
):  # fmt: skip
    """Write what L gives x and g of the nodes from `first` to `last`, and what they add to w."""
    shape = n_rows, x.shape[2]
    z, tz = np.empty(shape, x.dtype), np.empty(shape, x.dtype)
    dz, tdz = np.empty(shape, x.dtype), np.empty(shape, x.dtype)
    sums = np.empty((4, x.shape[2]), x.dtype)
    tdw[:] = 0
    for i in range(first, last):
        s = species[i]
        tdx[i] = 0
        tout[i] = 0
        dz[:] = 0
        tdz[:] = 0
        _multiply(pairs, pair_values, x[i], u[i], z, tz)
        _singles(singles, z, tz, w[s], v[s], g[i], dz, tdz, tdw[s], tout[i])
        _triples(
            groups, triples, triple_values, x[i], u[i], z, tz, w[s], v[s], g[i], sums, dz, tdz,
            tdx[i], tdw[s], tout[i],
        )  # fmt: skip
        _pull_pairs(pairs, pair_values, x[i], u[i], dz, tdz, tdx[i])
