"""Energies and gradients of pairs of atoms, Coulomb and dispersion in one pass over them.

Each kernel serves the atoms i from `first` to `last` with all later atoms j of the same structure
and their images, and with the images of i, of which it takes one half. It adds to an array of its
own, which `kernels.pairs` sums over the threads. The letters are those of `kernels.pairs`; x:
points, translations: (M, 3), Å, of the images.
"""

# numba infers the types, and a kernel takes its arrays one by one:
# ruff: noqa: ANN001, ANN201

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
    mix,
    mixed,
    push,
    two_atoms,
)
from molequi.kernels.pair_inputs import COULOMB_CONSTANT, SYSTEMS


@jit
def coordination(first, last, x, translations, space, elements, own):
    """Add to own (N, 1) the coordination numbers."""
    own[:] = 0.0
    batch, ends, limits = space.batch, space.ends, (space.first, space.last, space.reach)
    _, kinds, _, _, terms, _, _ = elements
    for i in range(first, last):
        b = batch[i]
        for j in range(i, ends[i]):
            bond = terms[kinds[i], kinds[j], 0]
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                f = count(between(x, i, j, translations, m)[3], bond)[0]
                own[i, 0] += f
                own[j, 0] += f
                m += step


@jit
def energies(first, last, x, translations, q, space, elements, strengths, own):
    """Add to own (N, 1) half of each pair's energy."""
    own[:] = 0.0
    batch, ends, reaches, widths = space.batch, space.ends, space.reach, space.widths
    limits = space.first, space.last, reaches
    numbers, kinds, present, sizes, terms, c6, weights = elements
    rows = np.zeros((1, len(present), SYSTEMS))
    for i in range(first, last):
        mix(numbers, kinds, present, sizes, c6, weights, i, rows)
        b = batch[i]
        reach, width = reaches[b], widths[b]
        volume = cell_of(x, b, len(batch), reach)[1]
        for j in range(i, ends[i]):
            of_two, t, n = two_atoms(i, j, kinds, sizes, terms)
            charge, h = 0.0, beyond(strengths, of_two[1], volume, i == j)
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                r = between(x, i, j, translations, m)[3]
                if r < reach:
                    of_charges, of_dispersion = act(r, strengths, width, of_two, n)
                    charge += of_charges[0]
                    h += of_dispersion[0]
                m += step
            energy = COULOMB_CONSTANT * q[i] * q[j] * charge - h * mixed(
                rows, 0, t, weights, 0, j, n
            )
            own[i, 0] += 0.5 * energy
            own[j, 0] += 0.5 * energy


@jit
def gradient(first, last, x, translations, q, g, space, elements, strengths, own):
    """Add to own (points, 5) the gradients of sum g E by x at fixed CN, by q and by CN."""
    own[:] = 0.0
    batch, ends, shifts, first_image, last_image, reaches, widths = space
    limits = first_image, last_image, reaches
    numbers, kinds, present, sizes, terms, c6, weights = elements
    rows = np.zeros((2, len(present), SYSTEMS))
    for i in range(first, last):
        mix(numbers, kinds, present, sizes, c6, weights, i, rows)
        b = batch[i]
        reach, width = reaches[b], widths[b]
        row, volume = cell_of(x, b, len(batch), reach)
        for j in range(i, ends[i]):
            of_two, t, n = two_atoms(i, j, kinds, sizes, terms)
            weight = 0.5 * (g[i] + g[j])
            k, c = COULOMB_CONSTANT * q[i] * q[j], mixed(rows, 0, t, weights, 0, j, n)
            charge, tail = 0.0, beyond(strengths, of_two[1], volume, i == j)
            h = tail
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                dx, dy, dz, r = between(x, i, j, translations, m)
                if r < reach:
                    of_charges, of_dispersion = act(r, strengths, width, of_two, n)
                    charge += of_charges[0]
                    h += of_dispersion[0]
                    s = weight * (k * of_charges[1] - c * of_dispersion[1]) / r
                    push(own, i, j, row, shifts[m], s * dx, s * dy, s * dz)
                m += step
            own[i, 3] += weight * COULOMB_CONSTANT * q[j] * charge
            own[j, 3] += weight * COULOMB_CONSTANT * q[i] * charge
            own[i, 4] -= weight * h * mixed(rows, 1, t, weights, 0, j, n)
            own[j, 4] -= weight * h * mixed(rows, 0, t, weights, 1, j, n)
            if row >= 0:
                own[row + 3, 0] += weight * c * tail / volume


@jit
def gradient_by_coordination(first, last, x, translations, by_cn, space, elements, own):
    """Add to own (points, 3) what the gradient by CN (N,) gives the points."""
    own[:] = 0.0
    batch, ends, shifts, first_image, last_image, reaches, _ = space
    limits = first_image, last_image, reaches
    _, kinds, _, _, terms, _, _ = elements
    for i in range(first, last):
        b = batch[i]
        row = cell_of(x, b, len(batch), reaches[b])[0]
        for j in range(i, ends[i]):
            bond = terms[kinds[i], kinds[j], 0]
            m, end, step = images_met(x, i, j, translations, limits, b)
            while m < end:
                dx, dy, dz, r = between(x, i, j, translations, m)
                s = (by_cn[i] + by_cn[j]) * count(r, bond)[1] / r
                if s != 0.0:
                    push(own, i, j, row, shifts[m], s * dx, s * dy, s * dz)
                m += step
