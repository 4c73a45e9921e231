"""Kernels that read the coupling table from arrays.

Static source, compiled once per dtype for every table.

They compute what the specialized kernels of `codegen` compute, with the same arguments after the
table. Measured, energies and forces take 1.6 to 1.9 times as long, passes that include the gradient
of the spline coefficients no longer. The letters are those of `kernels.convolution` and `codegen`;
a pair is a component k of the output and a component a of the features that a path p couples, a
term one coefficient of a pair.

The kernels by sender are long functions: each is one pass over its edges, with buffers made once
per call. Split, they would hand a dozen arrays to every edge's call, or pass over the edges twice.
"""

# numba infers the types, and a kernel takes its tensors one by one:
# mypy: disable-error-code="var-annotated"
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from molequi.kernels import splines
from molequi.o3.coupling import CouplingTable

_jit = numba.njit(
    fastmath={"contract", "reassoc", "nsz", "arcp"}, cache=True, nogil=True, error_model="numpy"
)
_inline = numba.njit(
    fastmath={"contract", "reassoc", "nsz", "arcp"},
    cache=True,
    nogil=True,
    error_model="numpy",
    inline="always",
)


class Pairs(NamedTuple):
    """A coupling table as the kernels read it.

    pairs: (Q, 3), path, component of the output and component of the features. terms: (T, 2), pair
    and component of the harmonics. values: (T,), the dtype of the features.
    """

    pairs: np.ndarray
    terms: np.ndarray
    values: np.ndarray


def pairs_of(table: CouplingTable, dtype: type) -> Pairs:
    """Return the pairs and terms of `table` for features of `dtype`."""
    keys = np.stack([table.path, table.component_output, table.component_first], axis=1)
    pairs, pair_of_term = np.unique(keys, axis=0, return_inverse=True)
    return Pairs(
        pairs,
        np.stack([pair_of_term.reshape(-1), table.component_second], axis=1),
        table.value.astype(dtype),
    )


@_inline
def _contract(terms, values, harmonics, out):
    out[:] = 0
    for t in range(len(values)):
        out[terms[t, 0]] += values[t] * harmonics[terms[t, 1]]


_place, _slope = _inline(splines.place_near), _inline(splines.slope_near)
_bend, _values = _inline(splines.bend_near), _inline(splines.basis)
_first_derivatives = _inline(splines.first_derivatives)
_second_derivatives = _inline(splines.second_derivatives)


@_inline
def _basis(r, cutoff, scale, shift, n_intervals, weights):
    """Write the basis functions at r and their two derivatives to weights (3, 4).

    Return the knot interval, -1 from the cutoff on.
    """
    if r >= cutoff:
        return -1
    near = 1.0 / (r + shift)
    x, slope = _place(near, scale, shift), _slope(near, scale, shift)
    bend = _bend(near, slope)
    b = 0 if np.isnan(x) else min(int(x), n_intervals - 1)
    t = x - b
    values, first, second = _values(t), _first_derivatives(t), _second_derivatives(t)
    for k in range(4):
        weights[0, k] = values[k]
        weights[1, k] = slope * first[k]
        weights[2, k] = slope * slope * second[k] + bend * first[k]
    return b


@_inline
def _spline(weights, s, b, out):
    for p in range(s.shape[1]):
        for c in range(s.shape[2]):
            out[p, c] = (
                weights[0] * s[b, p, c]
                + weights[1] * s[b + 1, p, c]
                + weights[2] * s[b + 2, p, c]
                + weights[3] * s[b + 3, p, c]
            )


@_inline
def _turn(weights, w, s, z, b, out):
    """Write what reaches a radial function.

    W R' + sum B z, or with the weights of one derivative more w R'' + sum B' z.
    """
    _spline(weights[1], s, b, out)
    for p in range(s.shape[1]):
        for c in range(s.shape[2]):
            out[p, c] *= w
    if len(z) > 0:
        _add_evaluated(weights[0], z, b, out)


@_inline
def _add_evaluated(weights, z, b, out):
    for p in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[p, c] += (
                weights[0] * z[b, p, c]
                + weights[1] * z[b + 1, p, c]
                + weights[2] * z[b + 2, p, c]
                + weights[3] * z[b + 3, p, c]
            )


@_inline
def _add_spline(weights, power, b, ds):
    """Add to the coefficients what reaches the radial functions of an edge."""
    for k in range(4):
        for p in range(power.shape[0]):
            for c in range(power.shape[1]):
                ds[b + k, p, c] += weights[k] * power[p, c]


@_inline
def _gather(terms, values, sums, out):
    """Contract the coefficients with the sums of each pair: the gradient of the harmonics."""
    for t in range(len(values)):
        out[terms[t, 1]] += values[t] * sums[terms[t, 0]]


@_inline
def _dot(x, y):
    total = x.dtype.type(0)
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            total += x[p, c] * y[p, c]
    return total


@_jit
def forward(pairs, terms, values, first, last, h, y, r, s, sender, ptr, cutoff, scale, shift, out):
    """Write A of the receivers from `first` to `last`."""
    m, weights, radial = (
        np.empty(len(pairs), h.dtype),
        np.empty((3, 4), h.dtype),
        np.empty(s.shape[1:], h.dtype),
    )
    for i in range(first, last):
        out[i] = 0
        for e in range(ptr[i], ptr[i + 1]):
            b, j = _basis(r[e], cutoff, scale, shift, s.shape[0] - 3, weights), sender[e]
            if b < 0:
                continue
            _contract(terms, values, y[e], m)
            _spline(weights[0], s, b, radial)
            for q in range(len(pairs)):
                p, k, a, mq = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q]
                for c in range(h.shape[2]):
                    out[i, k, c] += mq * radial[p, c] * h[j, a, c]


@_jit
def backward(
    pairs, terms, values, first, last,
    h, y, r, s, g,
    receiver, order, ptr, cutoff, scale, shift, dh, dy, dr, ds,
):  # fmt: skip
    """Write dh of the senders from `first` to `last`, dy, dr of their edges, what these add to ds.

    An empty ds is left out.
    """
    m, sums, weights = (
        np.empty(len(pairs), h.dtype),
        np.empty(len(pairs), h.dtype),
        np.empty((3, 4), h.dtype),
    )
    radial, slope, power = (
        np.empty(s.shape[1:], h.dtype),
        np.empty(s.shape[1:], h.dtype),
        np.empty(s.shape[1:], h.dtype),
    )
    zero = h.dtype.type(0)
    ds[:] = 0
    for j in range(first, last):
        dh[j] = 0
        for o in range(ptr[j], ptr[j + 1]):
            e = order[o]
            b, i = _basis(r[e], cutoff, scale, shift, s.shape[0] - 3, weights), receiver[e]
            dy[e] = 0
            dr[e] = 0
            if b < 0:
                continue
            _contract(terms, values, y[e], m)
            _spline(weights[0], s, b, radial)
            _spline(weights[1], s, b, slope)
            power[:] = 0
            for q in range(len(pairs)):
                p, k, a, mq, total = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q], zero
                for c in range(h.shape[2]):
                    dh[j, a, c] += mq * radial[p, c] * g[i, k, c]
                    x = h[j, a, c] * g[i, k, c]
                    power[p, c] += mq * x
                    total += radial[p, c] * x
                sums[q] = total
            _gather(terms, values, sums, dy[e])
            dr[e] = _dot(slope, power)
            if len(ds) > 0:
                _add_spline(weights[0], power, b, ds)


@_jit
def double_by_receiver(
    pairs, terms, values, first, last,
    h, y, r, s, u, v, w, z,
    sender, ptr, cutoff, scale, shift, out,
):  # fmt: skip
    """Write dg of the receivers from `first` to `last`; an empty z counts as zero."""
    m, n, weights = (
        np.empty(len(pairs), h.dtype),
        np.empty(len(pairs), h.dtype),
        np.empty((3, 4), h.dtype),
    )
    radial, turned = np.empty(s.shape[1:], h.dtype), np.empty(s.shape[1:], h.dtype)
    for i in range(first, last):
        out[i] = 0
        for e in range(ptr[i], ptr[i + 1]):
            b, j = _basis(r[e], cutoff, scale, shift, s.shape[0] - 3, weights), sender[e]
            if b < 0:
                continue
            _contract(terms, values, y[e], m)
            _contract(terms, values, v[e], n)
            _spline(weights[0], s, b, radial)
            _turn(weights, w[e], s, z, b, turned)
            for q in range(len(pairs)):
                p, k, a, mq, nq = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q], n[q]
                for c in range(h.shape[2]):
                    out[i, k, c] += (
                        mq * (radial[p, c] * u[j, a, c] + turned[p, c] * h[j, a, c])
                        + nq * radial[p, c] * h[j, a, c]
                    )


@_jit
def double_by_sender(
    pairs, terms, values, first, last,
    h, y, r, s, g, u, v, w, z,
    receiver, order, ptr, cutoff, scale, shift, dh, dy, dr, ds,
):  # fmt: skip
    """Write dh of the senders from `first` to `last`, dy, dr of their edges, what these add to ds.

    An empty z counts as zero.
    """
    m, n, sums = (
        np.empty(len(pairs), h.dtype),
        np.empty(len(pairs), h.dtype),
        np.empty(len(pairs), h.dtype),
    )
    weights, radial, turned = (
        np.empty((3, 4), h.dtype),
        np.empty(s.shape[1:], h.dtype),
        np.empty(s.shape[1:], h.dtype),
    )
    slope, bend, power, crossed = (
        np.empty_like(radial),
        np.empty_like(radial),
        np.empty_like(radial),
        np.empty_like(radial),
    )
    zero = h.dtype.type(0)
    ds[:] = 0
    for j in range(first, last):
        dh[j] = 0
        for o in range(ptr[j], ptr[j + 1]):
            e = order[o]
            b, i = _basis(r[e], cutoff, scale, shift, s.shape[0] - 3, weights), receiver[e]
            dy[e] = 0
            dr[e] = 0
            if b < 0:
                continue
            _contract(terms, values, y[e], m)
            _contract(terms, values, v[e], n)
            _spline(weights[0], s, b, radial)
            _spline(weights[1], s, b, slope)
            _turn(weights, w[e], s, z, b, turned)
            _turn(weights[1:], w[e], s, z, b, bend)
            power[:] = 0
            crossed[:] = 0
            for q in range(len(pairs)):
                p, k, a, mq, nq, total = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q], n[q], zero
                for c in range(h.shape[2]):
                    dh[j, a, c] += (radial[p, c] * nq + turned[p, c] * mq) * g[i, k, c]
                    hg, ug = h[j, a, c] * g[i, k, c], u[j, a, c] * g[i, k, c]
                    power[p, c] += mq * hg
                    crossed[p, c] += mq * ug + nq * hg
                    total += radial[p, c] * ug + turned[p, c] * hg
                sums[q] = total
            _gather(terms, values, sums, dy[e])
            dr[e] = _dot(slope, crossed) + _dot(bend, power)
            _add_spline(weights[0], crossed, b, ds)
            power *= w[e]
            _add_spline(weights[1], power, b, ds)
