"""The functions of distance and of coordination numbers that pairs of atoms need, with derivatives.

For `compiled.pairs` and `compiled.pair_tangents`; the letters are those of `kernels.pairs`.
"""

# numba infers the types:
# ruff: noqa: ANN001, ANN201

from __future__ import annotations

import math

import numpy as np

from molequi.kernels.compiled.compiling import inline
from molequi.kernels.pair_inputs import (
    CELL_ROWS,
    INNER,
    LAST,
    NEAREST,
    NOTHING_LEFT,
    OUTER,
    STEEPNESS,
    SYSTEMS,
)


@inline
def between(x, i, j, translations, m):
    """Return the vector from i to the m-th image of j, and its length, at least NEAREST."""
    dx = x[j, 0] - x[i, 0] + translations[m, 0]
    dy = x[j, 1] - x[i, 1] + translations[m, 1]
    dz = x[j, 2] - x[i, 2] + translations[m, 2]
    return dx, dy, dz, max(math.sqrt(dx * dx + dy * dy + dz * dz), NEAREST)


@inline
def reciprocal(r, radius, width):
    """Return X = (erfc(a r) - fc(r)) / r and two derivatives; a is zero in molecules."""
    near = (r / radius) ** 2
    f, f1, f2 = 0.0, 0.0, 0.0
    if near < NOTHING_LEFT:
        t = 1.0 / (1.0 - near)
        slope = 2.0 * r / (radius * radius)
        z1 = slope * t * t
        z2 = 2.0 / (radius * radius) * t * t + 2.0 * slope * slope * t * t * t
        left = math.exp(-near * t)
        f, f1, f2 = -math.expm1(-near * t), left * z1, left * (z2 - z1 * z1)
        if width > 0.0:
            f -= math.erf(width * r)
    else:
        f = 1.0 if width == 0.0 else math.erfc(width * r)
    if width > 0.0:
        bell = -2.0 / math.sqrt(math.pi) * width * math.exp(-((width * r) ** 2))
        f1 += bell
        f2 -= 2.0 * width * width * r * bell
    inverse = 1.0 / r
    x = f * inverse
    x1 = (f1 - x) * inverse
    return x, x1, (f2 - 2.0 * x1) * inverse


@inline
def switch(r):
    """Return 1 up to INNER, 0 from OUTER on, between them a polynomial; and two derivatives."""
    x = min(max((r - INNER) / (OUTER - INNER), 0.0), 1.0)
    s1 = -30.0 * x * x * (1.0 - x) ** 2 / (OUTER - INNER)
    s2 = -60.0 * x * (1.0 - x) * (1.0 - 2.0 * x) / (OUTER - INNER) ** 2
    return 1.0 - x * x * x * (10.0 - 15.0 * x + 6.0 * x * x), s1, s2


@inline
def switched(f, f1, f2, r):
    """Return a function times the switch, and two derivatives."""
    s, s1, s2 = switch(r)
    return f * s, f1 * s + f * s1, f2 * s + 2.0 * f1 * s1 + f * s2


@inline
def count(r, bond):
    """Return f, how much an atom at r counts as a neighbour, and two derivatives."""
    if r >= OUTER:
        return 0.0, 0.0, 0.0
    f = 1.0 / (1.0 + math.exp(-STEEPNESS * (bond / r - 1.0)))
    a1 = STEEPNESS * bond / (r * r)
    f1 = -f * (1.0 - f) * a1
    f2 = -f1 * (1.0 - 2.0 * f) * a1 + 2.0 * f * (1.0 - f) * a1 / r
    return (f, f1, f2) if r <= INNER else switched(f, f1, f2, r)


@inline
def damped(r, s6, s8, q, radius6, radius8, is_crystal):
    """Return h = s6 / (r^6 + R^6) + s8 Q / (r^8 + R^8) and two derivatives.

    In crystals times the switch.
    """
    r2 = r * r
    r4 = r2 * r2
    r6 = r4 * r2
    x6 = 1.0 / (r6 + radius6)
    x8 = 1.0 / (r4 * r4 + radius8)
    y6, y8 = s6 * x6, s8 * q * x8
    h, h1 = y6 + y8, -r * r4 * (6.0 * y6 * x6 + 8.0 * y8 * x8 * r2)
    h2 = y6 * x6 * r4 * (72.0 * r6 * x6 - 30.0) + y8 * x8 * r6 * (128.0 * r4 * r4 * x8 - 56.0)
    return switched(h, h1, h2, r) if is_crystal and r > INNER else (h, h1, h2)


@inline
def act(r, strengths, width, terms, n):
    """Return X and h at a distance, each with two derivatives; zeros for what is off.

    width: of Ewald's splitting, zero in molecules. terms: `pair_inputs.Elements.terms` of two
    atoms. n: reference systems of the second atom, 0 without dispersion.
    """
    x, h = (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
    # A damping radius may reach beyond the splitting's own.
    if strengths.radius > 0.0 and (width * r < LAST or r < strengths.radius):
        x = reciprocal(r, strengths.radius, width)
    if n > 0:
        h = damped(r, strengths.s6, strengths.s8, terms[1], terms[2], terms[3], width > 0.0)
    return x, h


@inline
def beyond(strengths, q, volume, is_own):
    """Return what atoms beyond the switch, taken as evenly spread, add to the sum of h.

    Nothing in molecules, whose volume is infinite. An atom meets half of its own images, since each
    pair is met once.
    """
    tail = strengths.s6 * strengths.sixth + strengths.s8 * q * strengths.eighth
    return (0.5 if is_own else 1.0) * tail / volume


@inline
def two_atoms(i, j, kinds, sizes, terms):
    """Return `terms` of two atoms, which element the second is, its reference systems' number."""
    if len(sizes) == 0:
        return (0.0, 0.0, 0.0, 0.0), 0, 0
    s, t = kinds[i], kinds[j]
    return (terms[s, t, 0], terms[s, t, 1], terms[s, t, 2], terms[s, t, 3]), t, sizes[t]


@inline
def mix(numbers, kinds, present, sizes, c6, weights, i, rows):
    """Write sum_a w_ia C6[a, b] with every element to rows (K, T, SYSTEMS), for K derivatives of w.

    Places without a system are left alone.
    """
    for t in range(len(present)):
        for b in range(sizes[t]):
            for k in range(len(rows)):
                rows[k, t, b] = 0.0
            for a in range(sizes[kinds[i]]):
                for k in range(len(rows)):
                    rows[k, t, b] += weights[k, i, a] * c6[numbers[i], present[t], a, b]


@inline
def mixed(rows, k, t, weights, l, j, n):
    """Return C6 of i, whose rows these are, and j, k times by CN_i and l times by CN_j.

    Where there are fewer systems than SYSTEMS, zeros are added: a loop of fixed length is unrolled,
    and one of 2 to 5 rounds costs more than all else that a pair takes.
    """
    total = 0.0
    if n > 0:
        for b in range(SYSTEMS):
            total += rows[k, t, b] * weights[l, j, b]
    return total


@inline
def images_met(x, i, j, translations, limits, b):
    """Return the range of the images of j that may come within reach of i: of its own every other.

    They are sorted by distance from the cell, so that one far enough is followed by none nearer.
    limits: `first`, `last` and `reach` of `pair_inputs.Space`; b: the structure. For a `while`: a
    `range` with such a step counts its rounds by a division.
    """
    first, last, reach = limits[0][b], limits[1][b], limits[2][b]
    if last - first == 1:
        return (first, last, 1) if i != j else (last, last, 1)
    dx, dy, dz = x[j, 0] - x[i, 0], x[j, 1] - x[i, 1], x[j, 2] - x[i, 2]
    most = (reach + math.sqrt(dx * dx + dy * dy + dz * dz)) ** 2
    low, high = first + 1, last
    while low < high:
        m = (low + high) // 2
        far = translations[m, 0] ** 2 + translations[m, 1] ** 2 + translations[m, 2] ** 2
        if far <= most:
            low = m + 1
        else:
            high = m
    return (first, low, 1) if i != j else (first + 1, low, 2)


@inline
def push(own, i, j, row, shift, x, y, z):
    """Add a vector to the gradient of j and of its image's cell, and take it from that of i.

    row: where the cell stands among points; negative in molecules.
    """
    own[i, 0] -= x
    own[i, 1] -= y
    own[i, 2] -= z
    own[j, 0] += x
    own[j, 1] += y
    own[j, 2] += z
    if row >= 0:
        for k in range(3):
            own[row + k, 0] += shift[k] * x
            own[row + k, 1] += shift[k] * y
            own[row + k, 2] += shift[k] * z


@inline
def cell_of(x, b, n_atoms, reach):
    """Return the row of points where the cell of a structure stands, and its volume, Å³.

    Of a molecule -1 and infinity.
    """
    row = n_atoms + CELL_ROWS * b
    return (row, x[row + 3, 0]) if math.isfinite(reach) else (-1, np.inf)
