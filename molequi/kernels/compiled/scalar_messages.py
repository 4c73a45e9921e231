"""Messages of atoms whose features are scalars, as those of a first layer are.

A_i[lm,c] = sum_e Y_e[lm] R_e[l,c], whatever else is linear in the channels being in R: see
`kernels.scalar_messages`. Forward and backward walk the edges by receiver.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# ruff: noqa: ANN001, ANN201, PLR0913, PLR0917

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import inline, jit
from molequi.kernels.compiled.convolution_terms import weigh_knots


@inline
def _evaluate(weights, s, b, l, out):  # noqa: ANN202
    """Write the functions of one l, or their derivatives, to out (C,)."""
    for c in range(len(out)):
        out[c] = (
            weights[0] * s[b, l, c]
            + weights[1] * s[b + 1, l, c]
            + weights[2] * s[b + 2, l, c]
            + weights[3] * s[b + 3, l, c]
        )


@jit
def forward(
    first, last, y, r, s, kinds, ptr, n_intervals, cutoff, scale, shift, out,
):  # fmt: skip
    """Write A of the receivers from `first` to `last`."""
    weights, radial = np.empty((3, 4), y.dtype), np.empty(s.shape[2], y.dtype)
    for i in range(first, last):
        out[i] = 0
        for e in range(ptr[i], ptr[i + 1]):
            b = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights)
            if b < 0:
                continue
            for l in range(s.shape[1]):
                _evaluate(weights[0], s, b, l, radial)
                for m in range(l * l, (l + 1) * (l + 1)):
                    ym = y[e, m]
                    for c in range(s.shape[2]):
                        out[i, m, c] += ym * radial[c]


@jit
def backward(
    first, last, y, r, s, g, kinds, ptr, n_intervals, cutoff, scale, shift, dy, dr,
):  # fmt: skip
    """Add to dy and dr of the edges of those receivers; g: gradient of A."""
    weights, radial = np.empty((3, 4), y.dtype), np.empty(s.shape[2], y.dtype)
    slope, power = np.empty_like(radial), np.empty_like(radial)
    zero = y.dtype.type(0)
    for i in range(first, last):
        for e in range(ptr[i], ptr[i + 1]):
            b = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights)
            if b < 0:
                continue
            for l in range(s.shape[1]):
                _evaluate(weights[0], s, b, l, radial)
                _evaluate(weights[1], s, b, l, slope)
                power[:] = 0
                for m in range(l * l, (l + 1) * (l + 1)):
                    ym, total = y[e, m], zero
                    for c in range(s.shape[2]):
                        total += radial[c] * g[i, m, c]
                        power[c] += ym * g[i, m, c]
                    dy[e, m] += total
                total = zero
                for c in range(s.shape[2]):
                    total += slope[c] * power[c]
                dr[e] += total


@jit
def count(first, last, r, s, kinds, ptr, n_intervals, cutoff, scale, shift, counts, slopes):
    """Write 1 + the sum of one spline over the edges of a receiver, and its slope of each edge."""
    weights = np.empty((3, 4), r.dtype)
    for i in range(first, last):
        counts[i] = 1
        for e in range(ptr[i], ptr[i + 1]):
            b = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights)
            slopes[e] = 0
            if b < 0:
                continue
            for k in range(4):
                counts[i] += weights[0, k] * s[b + k, 0, 0]
                slopes[e] += weights[1, k] * s[b + k, 0, 0]
