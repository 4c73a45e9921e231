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
# ruff: noqa: ANN001, ANN201, PLR0913, PLR0917

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from molequi.kernels.compiled.compiling import jit
from molequi.kernels.compiled.convolution_terms import (
    add_to_knots,
    contract,
    dot,
    evaluate,
    gather,
    turn,
    weigh_knots,
)
from molequi.o3.coupling import CouplingTable


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


@jit
def forward(
    pairs, terms, values, first, last, h, y, r, s, sender, kinds, ptr,
    n_intervals, cutoff, scale, shift, out,
):  # fmt: skip
    """Write A of the receivers from `first` to `last`."""
    m, weights, radial = (
        np.empty(len(pairs), h.dtype),
        np.empty((3, 4), h.dtype),
        np.empty(s.shape[1:], h.dtype),
    )
    for i in range(first, last):
        out[i] = 0
        for e in range(ptr[i], ptr[i + 1]):
            b, j = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights), sender[e]
            if b < 0:
                continue
            contract(terms, values, y[e], m)
            evaluate(weights[0], s, b, radial)
            for q in range(len(pairs)):
                p, k, a, mq = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q]
                for c in range(h.shape[2]):
                    out[i, k, c] += mq * radial[p, c] * h[j, a, c]


@jit
def backward(
    pairs, terms, values, first, last,
    h, y, r, s, g,
    receiver, order, kinds, ptr, n_intervals, cutoff, scale, shift, dh, dy, dr, ds,
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
            b, i = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights), receiver[e]
            dy[e] = 0
            dr[e] = 0
            if b < 0:
                continue
            contract(terms, values, y[e], m)
            evaluate(weights[0], s, b, radial)
            evaluate(weights[1], s, b, slope)
            power[:] = 0
            for q in range(len(pairs)):
                p, k, a, mq, total = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q], zero
                for c in range(h.shape[2]):
                    dh[j, a, c] += mq * radial[p, c] * g[i, k, c]
                    x = h[j, a, c] * g[i, k, c]
                    power[p, c] += mq * x
                    total += radial[p, c] * x
                sums[q] = total
            gather(terms, values, sums, dy[e])
            dr[e] = dot(slope, power)
            if len(ds) > 0:
                add_to_knots(weights[0], power, b, ds)


@jit
def double_by_receiver(
    pairs, terms, values, first, last,
    h, y, r, s, u, v, w, z,
    sender, kinds, ptr, n_intervals, cutoff, scale, shift, out,
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
            b, j = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights), sender[e]
            if b < 0:
                continue
            contract(terms, values, y[e], m)
            contract(terms, values, v[e], n)
            evaluate(weights[0], s, b, radial)
            turn(weights, w[e], s, z, b, turned)
            for q in range(len(pairs)):
                p, k, a, mq, nq = pairs[q, 0], pairs[q, 1], pairs[q, 2], m[q], n[q]
                for c in range(h.shape[2]):
                    out[i, k, c] += (
                        mq * (radial[p, c] * u[j, a, c] + turned[p, c] * h[j, a, c])
                        + nq * radial[p, c] * h[j, a, c]
                    )


@jit
def double_by_sender(
    pairs, terms, values, first, last,
    h, y, r, s, g, u, v, w, z,
    receiver, order, kinds, ptr, n_intervals, cutoff, scale, shift, dh, dy, dr, ds,
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
            b, i = weigh_knots(e, r, kinds, n_intervals, cutoff, scale, shift, weights), receiver[e]
            dy[e] = 0
            dr[e] = 0
            if b < 0:
                continue
            contract(terms, values, y[e], m)
            contract(terms, values, v[e], n)
            evaluate(weights[0], s, b, radial)
            evaluate(weights[1], s, b, slope)
            turn(weights, w[e], s, z, b, turned)
            turn(weights[1:], w[e], s, z, b, bend)
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
            gather(terms, values, sums, dy[e])
            dr[e] = dot(slope, crossed) + dot(bend, power)
            add_to_knots(weights[0], crossed, b, ds)
            power *= w[e]
            add_to_knots(weights[1], power, b, ds)
