"""What the kernels of `compiled.convolution` do at one edge: its splines, and sums over the table.

The letters are those of `kernels.convolution`; a term is one coefficient of a pair.
"""

# numba infers the types, and a kernel takes its arrays one by one:
# ruff: noqa: ANN001, ANN201, ANN202

from __future__ import annotations

import numpy as np

from molequi.kernels import splines
from molequi.kernels.compiled.compiling import inline

_place, _slope = inline(splines.place_near), inline(splines.slope_near)
_bend, _values = inline(splines.bend_near), inline(splines.basis)
_first_derivatives = inline(splines.first_derivatives)
_second_derivatives = inline(splines.second_derivatives)


@inline
def contract(terms, values, harmonics, out):
    """Write the contraction of the coefficients with the harmonics of an edge, for each pair."""
    out[:] = 0
    for t in range(len(values)):
        out[terms[t, 0]] += values[t] * harmonics[terms[t, 1]]


@inline
def weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights):
    """Write the basis functions at r[e] and their two derivatives to weights (3, 4).

    Return the first of the four coefficients of edge e, -1 from the cutoff on.
    """
    if r[e] >= cutoff:
        return -1
    near = 1.0 / (r[e] + shift)
    x, slope = _place(near, scale, shift), _slope(near, scale, shift)
    bend = _bend(near, slope)
    b = 0 if np.isnan(x) else min(int(x), n_intervals - 1)
    t = x - b
    values, first, second = _values(t), _first_derivatives(t), _second_derivatives(t)
    for k in range(4):
        weights[0, k] = values[k]
        weights[1, k] = slope * first[k]
        weights[2, k] = slope * slope * second[k] + bend * first[k]
    return b + kinds[e] * (n_intervals + 3) if len(kinds) > 0 else b


@inline
def evaluate(weights, s, b, out):
    """Write the radial functions, or a derivative of them, to out (paths, C)."""
    for p in range(s.shape[1]):
        for c in range(s.shape[2]):
            out[p, c] = (
                weights[0] * s[b, p, c]
                + weights[1] * s[b + 1, p, c]
                + weights[2] * s[b + 2, p, c]
                + weights[3] * s[b + 3, p, c]
            )


@inline
def turn(weights, w, s, z, b, out):
    """Write what reaches a radial function.

    W R' + sum B z, or with the weights of one derivative more w R'' + sum B' z.
    """
    evaluate(weights[1], s, b, out)
    for p in range(s.shape[1]):
        for c in range(s.shape[2]):
            out[p, c] *= w
    if len(z) > 0:
        _add_evaluated(weights[0], z, b, out)


@inline
def _add_evaluated(weights, z, b, out):
    for p in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[p, c] += (
                weights[0] * z[b, p, c]
                + weights[1] * z[b + 1, p, c]
                + weights[2] * z[b + 2, p, c]
                + weights[3] * z[b + 3, p, c]
            )


@inline
def add_to_knots(weights, power, b, ds):
    """Add to the coefficients what reaches the radial functions of an edge."""
    for k in range(4):
        for p in range(power.shape[0]):
            for c in range(power.shape[1]):
                ds[b + k, p, c] += weights[k] * power[p, c]


@inline
def gather(terms, values, sums, out):
    """Contract the coefficients with the sums of each pair: the gradient of the harmonics."""
    for t in range(len(values)):
        out[terms[t, 1]] += values[t] * sums[terms[t, 0]]


@inline
def dot(x, y):
    """Return the sum of x y over paths and channels."""
    total = x.dtype.type(0)
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            total += x[p, c] * y[p, c]
    return total
