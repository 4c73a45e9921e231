"""What the kernels of pairs need to know before they start: partners, elements, weights."""

# numba infers the types, and a kernel takes its arrays one by one:
# ruff: noqa: ANN001, ANN201

from __future__ import annotations

import math

import numpy as np

from molequi.kernels.compiled.compiling import jit
from molequi.kernels.pair_inputs import WIDTH


@jit
def last_partners(batch):
    """Return (N,) the first atom after each that is not of its structure."""
    ends = np.empty(len(batch), np.int64)
    end = len(batch)
    for i in range(len(batch) - 1, -1, -1):
        if i + 1 < len(batch) and batch[i] != batch[i + 1]:
            end = i + 1
        ends[i] = end
    return ends


@jit
def sort_elements(numbers, references, radii, moments, a1, a2):
    """Return `kinds`, `present`, `sizes` and `terms` of `kernels.pair_inputs.Elements`."""
    kinds, place = np.empty(len(numbers), np.int64), np.full(len(references), -1)
    elements = np.empty(len(references), np.int64)
    n = 0
    for i in range(len(numbers)):
        z = numbers[i]
        if place[z] < 0:
            place[z], elements[n] = n, z
            n += 1
        kinds[i] = place[z]
    sizes, terms = np.empty(n, np.int64), np.empty((n, n, 4))
    for s in range(n):
        sizes[s] = np.sum(references[elements[s]] >= 0.0)
        for t in range(n):
            q = 3.0 * moments[elements[s]] * moments[elements[t]]
            radius = a1 * np.sqrt(q) + a2
            terms[s, t, 0] = radii[elements[s]] + radii[elements[t]]
            terms[s, t, 1] = q
            terms[s, t, 2] = radius**6
            terms[s, t, 3] = radius**8
    return kinds, elements[:n], sizes, terms


@jit
def weigh(coordination, numbers, references):
    """Return w of every atom and two derivatives by its coordination number: (3, N, R).

    references: (Z + 1, R), coordination numbers, -1 where there is none.
    """
    weights = np.zeros((3, len(numbers), references.shape[1]))
    for i in range(len(numbers)):
        known = references[numbers[i]]
        nearest = np.inf
        for a in range(len(known)):
            if known[a] >= 0.0:
                nearest = min(nearest, abs(coordination[i] - known[a]))
        total, mean = 0.0, 0.0
        for a in range(len(known)):
            if known[a] >= 0.0:
                off = coordination[i] - known[a]
                # The nearest system is never lost, however far it is.
                weights[0, i, a] = math.exp(WIDTH * (nearest * nearest - off * off))
                total += weights[0, i, a]
                mean -= 2.0 * WIDTH * off * weights[0, i, a]
        mean /= total
        spread = 0.0
        for a in range(len(known)):
            slope = -2.0 * WIDTH * (coordination[i] - known[a])
            weights[0, i, a] /= total
            weights[1, i, a] = weights[0, i, a] * (slope - mean)
            weights[2, i, a] = weights[1, i, a] * (slope - mean)
            spread += weights[1, i, a] * slope
        for a in range(len(known)):
            weights[2, i, a] -= weights[0, i, a] * spread
    return weights
