"""Lengths and spherical harmonics of edge vectors, and their gradient, many edges side by side.

Harmonics are sums of monomials of a direction, each one factor longer than its parent: see
`kernels.edge_geometry`. Lanes of an array are edges, so that every step is one of whole registers.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import inline, jit

_LANES = 64
# Squared length, Å², of edges that have no direction.
_LEAST = 1e-12


@inline
def _load(axes, parents, start, n, vectors, lengths, directions, monomials):
    """Write lengths, directions and monomials of n edges from `start` on."""
    for e in range(n):
        x, y, z = vectors[start + e, 0], vectors[start + e, 1], vectors[start + e, 2]
        lengths[e] = np.sqrt(max(x * x + y * y + z * z, _LEAST))
        directions[0, e] = x / lengths[e]
        directions[1, e] = y / lengths[e]
        directions[2, e] = z / lengths[e]
    for m in range(1, len(axes)):
        axis, parent = axes[m], parents[m]
        for e in range(_LANES):
            monomials[m, e] = monomials[parent, e] * directions[axis, e]


@jit
def forward(axes, parents, terms, values, first, last, vectors, y, r):
    """Write harmonics y and lengths r of the edges from `first` to `last`."""
    lengths, directions = np.ones(_LANES), np.zeros((3, _LANES), y.dtype)
    monomials = np.ones((len(axes), _LANES), y.dtype)
    harmonics = np.empty((y.shape[1], _LANES), y.dtype)
    for start in range(first, last, _LANES):
        n = min(_LANES, last - start)
        _load(axes, parents, start, n, vectors, lengths, directions, monomials)
        harmonics[:] = 0
        for t in range(len(values)):
            m, k, value = terms[t, 0], terms[t, 1], values[t]
            for e in range(_LANES):
                harmonics[k, e] += value * monomials[m, e]
        for e in range(n):
            r[start + e] = lengths[e]
            for k in range(y.shape[1]):
                y[start + e, k] = harmonics[k, e]


@jit
def backward(axes, parents, terms, values, first, last, vectors, dy, dr, out):
    """Write the gradient with respect to the vectors of those edges, of that of y and r."""
    lengths, directions = np.ones(_LANES), np.zeros((3, _LANES), dy.dtype)
    monomials, pulls = (
        np.ones((len(axes), _LANES), dy.dtype),
        np.empty((len(axes), _LANES), dy.dtype),
    )
    turned, given = np.empty((3, _LANES), dy.dtype), np.zeros((dy.shape[1], _LANES), dy.dtype)
    for start in range(first, last, _LANES):
        n = min(_LANES, last - start)
        _load(axes, parents, start, n, vectors, lengths, directions, monomials)
        for e in range(n):
            for k in range(dy.shape[1]):
                given[k, e] = dy[start + e, k]
        pulls[:] = 0
        for t in range(len(values)):
            m, k, value = terms[t, 0], terms[t, 1], values[t]
            for e in range(_LANES):
                pulls[m, e] += value * given[k, e]
        turned[:] = 0
        for m in range(len(axes) - 1, 0, -1):
            axis, parent = axes[m], parents[m]
            for e in range(_LANES):
                turned[axis, e] += pulls[m, e] * monomials[parent, e]
                pulls[parent, e] += pulls[m, e] * directions[axis, e]
        _turn_back(start, n, lengths, directions, turned, dr, out)


@inline
def _turn_back(start, n, lengths, directions, turned, dr, out):
    """Write the gradient of vectors from that of their directions and lengths."""
    for e in range(n):
        length, along = lengths[e], 0.0
        for a in range(3):
            along += directions[a, e] * turned[a, e]
        # A length that is held at its least value has no slope.
        pull = dr[start + e] - along / length if length * length > _LEAST else 0.0
        for a in range(3):
            out[start + e, a] = turned[a, e] / length + pull * directions[a, e]
