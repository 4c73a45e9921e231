"""How the gradients of pairs change along a direction: what training on forces needs.

Along points x + e u and charges q + e v everything is differentiated by e at e = 0, which a `d`
before a letter of `kernels.pairs` says. Kernels as in `compiled.pairs`; turned: (M, 3), Å, how the
translations change.
"""

# numba infers the types, and a kernel takes its arrays one by one:
# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917

from __future__ import annotations

import numpy as np

from molequi.kernels.compiled.compiling import jit
from molequi.kernels.compiled.pair_terms import (
    act,
    between,
    beyond,
    cell_of,
    count,
    images_met,
    inline,
    mix,
    mixed,
    push,
    two_atoms,
)
from molequi.kernels.pair_inputs import COULOMB_CONSTANT, SYSTEMS


@inline
def _change(x, translations, u, turned, i, j, m):
    """Return the vector from i to the m-th image of j, its length, and how both change."""
    dx, dy, dz, r = between(x, i, j, translations, m)
    ux, uy, uz, _ = between(u, i, j, turned, m)
    return (dx, dy, dz), r, (ux, uy, uz), (dx * ux + dy * uy + dz * uz) / r


@inline
def _push(own, i, j, row, shift, change, s, ds):
    """Push the change of s d / r."""
    d, r, u, dr = change
    along, across = (ds - s * dr / r) / r, s / r
    x = along * d[0] + across * u[0]
    y = along * d[1] + across * u[1]
    push(own, i, j, row, shift, x, y, along * d[2] + across * u[2])


@inline
def _by_coordination(rows, t, weights, n, i, j, dcn):
    """Return C6, its gradients by CN_i and CN_j, and the changes of all three."""
    if n == 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    c_i, c_j = mixed(rows, 1, t, weights, 0, j, n), mixed(rows, 0, t, weights, 1, j, n)
    both = mixed(rows, 1, t, weights, 1, j, n)
    dc_i = mixed(rows, 2, t, weights, 0, j, n) * dcn[i] + both * dcn[j]
    dc_j = mixed(rows, 0, t, weights, 2, j, n) * dcn[j] + both * dcn[i]
    dc = c_i * dcn[i] + c_j * dcn[j]
    return mixed(rows, 0, t, weights, 0, j, n), c_i, c_j, dc, dc_i, dc_j


@jit
def coordination(first, last, x, translations, u, turned, space, elements, own):
    """Add to own (N, 1) the change of the coordination numbers."""
    own[:] = 0.0
    batch, ends, limits = space.batch, space.ends, (space.first, space.last, space.reach)
    _, kinds, _, _, terms, _, _ = elements
    for i in range(first, last):
        b = batch[i]
        for j in range(i, ends[i]):
            bond = terms[kinds[i], kinds[j], 0]
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                change = _change(x, translations, u, turned, i, j, m)
                df = count(change[1], bond)[1] * change[3]
                own[i, 0] += df
                own[j, 0] += df
                m += step


@jit
def gradient(
    first, last, x, translations, q, g, u, turned, v, dcn, space, elements, strengths, own
):
    """Add to own (points, 7) the changes of the gradients by x at fixed CN and by q, and of E.

    After them the gradient by CN and its change.
    """
    own[:] = 0.0
    batch, ends, shifts, first_image, last_image, reaches, widths = space
    limits = first_image, last_image, reaches
    numbers, kinds, present, sizes, terms, c6, weights = elements
    rows = np.zeros((3, len(present), SYSTEMS))
    for i in range(first, last):
        mix(numbers, kinds, present, sizes, c6, weights, i, rows)
        b = batch[i]
        row, volume = cell_of(x, b, len(batch), reaches[b])
        growth = u[row + 3, 0] / volume if row >= 0 else 0.0
        for j in range(i, ends[i]):
            of_two, t, n = two_atoms(i, j, kinds, sizes, terms)
            weight, tail = 0.5 * (g[i] + g[j]), beyond(strengths, of_two[1], volume, i == j)
            k, dk = q[i] * q[j] * COULOMB_CONSTANT, (v[i] * q[j] + q[i] * v[j]) * COULOMB_CONSTANT
            c, c_i, c_j, dc, dc_i, dc_j = _by_coordination(rows, t, weights, n, i, j, dcn)
            charge, dcharge, h, dh = 0.0, 0.0, tail, -tail * growth
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                change = _change(x, translations, u, turned, i, j, m)
                r, dr = change[1], change[3]
                if r < reaches[b]:
                    f, p = act(r, strengths, widths[b], of_two, n)
                    charge, dcharge = charge + f[0], dcharge + f[1] * dr
                    h, dh = h + p[0], dh + p[1] * dr
                    s = weight * (k * f[1] - c * p[1])
                    ds = weight * (dk * f[1] + k * f[2] * dr - dc * p[1] - c * p[2] * dr)
                    _push(own, i, j, row, shifts[m], change, s, ds)
                m += step
            energy = dk * charge + k * dcharge - dc * h - c * dh
            of_i, of_j = v[j] * charge + q[j] * dcharge, v[i] * charge + q[i] * dcharge
            _add(own, i, energy, weight, (of_i, h * c_i, dh * c_i + h * dc_i))
            _add(own, j, energy, weight, (of_j, h * c_j, dh * c_j + h * dc_j))
            if row >= 0:
                own[row + 3, 0] += weight * tail / volume * (dc - 2.0 * c * growth)


@inline
def _add(own, i, energy, weight, changes):
    """Add what a pair has for one of its atoms beside vectors.

    changes: of the gradient by its charge, in units of k, and the gradient by its CN and its own.
    """
    by_charge, by_cn, dby_cn = changes
    own[i, 3] += weight * COULOMB_CONSTANT * by_charge
    own[i, 4] += 0.5 * energy
    own[i, 5] -= weight * by_cn
    own[i, 6] -= weight * dby_cn


@jit
def gradient_by_coordination(
    first, last, x, translations, u, turned, by_cn, dby_cn, space, elements, own
):
    """Add to own (points, 3) the change of what the gradient by CN (N,) gives the points."""
    own[:] = 0.0
    batch, ends, shifts, first_image, last_image, reaches, _ = space
    limits = first_image, last_image, reaches
    _, kinds, _, _, terms, _, _ = elements
    for i in range(first, last):
        b = batch[i]
        row = cell_of(x, b, len(batch), reaches[b])[0]
        for j in range(i, ends[i]):
            bond = terms[kinds[i], kinds[j], 0]
            both, dboth = by_cn[i] + by_cn[j], dby_cn[i] + dby_cn[j]
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                change = _change(x, translations, u, turned, i, j, m)
                _, f1, f2 = count(change[1], bond)
                if f1 != 0.0:
                    ds = dboth * f1 + both * f2 * change[3]
                    _push(own, i, j, row, shifts[m], change, both * f1, ds)
                m += step
