"""Products of a node's features on the CPU.

Kernels over nodes that read the coupling table from arrays, compiled once per dtype for every
table.

The letters are those of `kernels.products`; a term t adds values[t] w[p] x[a] y[b] to component k,
with (p, a, b, k) = terms[t].
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, PLR0913, PLR0917

from __future__ import annotations

from molequi.kernels.compiled.compiling import jit


@jit
def forward(terms, values, first, last, x, y, w, species, out):
    """Write the products of the nodes from `first` to `last`."""
    for i in range(first, last):
        out[i] = 0
        s = species[i]
        for t in range(len(values)):
            p, a, b, k, value = terms[t, 0], terms[t, 1], terms[t, 2], terms[t, 3], values[t]
            for c in range(x.shape[2]):
                out[i, k, c] += value * w[s, p, c] * x[i, a, c] * y[i, b, c]


@jit
def backward(terms, values, first, last, x, y, w, g, species, dx, dy, dw):
    """Write dx and dy of the nodes from `first` to `last`, and what they add to dw.

    An empty dw is left out.
    """
    dw[:] = 0
    for i in range(first, last):
        dx[i] = 0
        dy[i] = 0
        s = species[i]
        for t in range(len(values)):
            p, a, b, k, value = terms[t, 0], terms[t, 1], terms[t, 2], terms[t, 3], values[t]
            for c in range(x.shape[2]):
                pull = value * g[i, k, c]
                weighted = pull * w[s, p, c]
                dx[i, a, c] += weighted * y[i, b, c]
                dy[i, b, c] += weighted * x[i, a, c]
            if len(dw) > 0:
                for c in range(x.shape[2]):
                    dw[s, p, c] += value * g[i, k, c] * x[i, a, c] * y[i, b, c]


@jit
def double_backward(terms, values, first, last, x, y, w, g, u, v, z, species, dx, dy, dg, dw):
    """Write dx, dy, dg of the nodes from `first` to `last`, and what they add to dw.

    An empty z counts as zero.
    """
    dw[:] = 0
    for i in range(first, last):
        dx[i] = 0
        dy[i] = 0
        dg[i] = 0
        s = species[i]
        for t in range(len(values)):
            p, a, b, k, value = terms[t, 0], terms[t, 1], terms[t, 2], terms[t, 3], values[t]
            for c in range(x.shape[2]):
                pull, weight = value * g[i, k, c], w[s, p, c]
                dx[i, a, c] += pull * weight * v[i, b, c]
                dy[i, b, c] += pull * weight * u[i, a, c]
                crossed = u[i, a, c] * y[i, b, c] + x[i, a, c] * v[i, b, c]
                dg[i, k, c] += value * weight * crossed
                dw[s, p, c] += pull * crossed
            if len(z) > 0:
                for c in range(x.shape[2]):
                    extra = value * z[s, p, c]
                    dx[i, a, c] += extra * g[i, k, c] * y[i, b, c]
                    dy[i, b, c] += extra * g[i, k, c] * x[i, a, c]
                    dg[i, k, c] += extra * x[i, a, c] * y[i, b, c]
