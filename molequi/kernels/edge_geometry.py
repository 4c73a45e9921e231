"""Lengths and spherical harmonics of edges on the CPU, for gradients written out by hand."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from molequi.kernels import compiled
from molequi.kernels.edges import NodeRange
from molequi.kernels.prepared import Geometry
from molequi.o3.spherical_harmonics import Polynomials, harmonic_polynomials


class Monomials(NamedTuple):
    """Monomials of a direction, and the harmonics as sums of them.

    axes, parents: (m,), monomial m is its parent times a coordinate; the first is 1. terms: (T, 2),
    monomial and harmonic; values: (T,).
    """

    axes: np.ndarray
    parents: np.ndarray
    terms: np.ndarray
    values: np.ndarray


@functools.lru_cache
def monomials(l_max: int, dtype: np.dtype) -> Monomials:
    """Return what the kernels take for harmonics of up to `l_max`."""
    found: Polynomials = harmonic_polynomials(l_max)
    places = {powers: m for m, powers in enumerate(found.exponents)}
    axes, parents = np.zeros((2, len(places)), dtype=np.int64)
    for powers, m in list(places.items())[1:]:
        axes[m] = next(axis for axis in range(3) if powers[axis])
        parent = tuple(n - (axis == axes[m]) for axis, n in enumerate(powers))
        parents[m] = places[parent]
    terms = np.argwhere(np.abs(found.matrix) > 0.0)
    values = found.matrix[terms[:, 0], terms[:, 1]]
    return Monomials(axes, parents, terms, values.astype(dtype))


def write_forward(vectors: np.ndarray, out: Geometry, edges: NodeRange) -> None:
    """Write harmonics (E, (l_max + 1)^2) and lengths (E,) of vectors (E, 3), float64.

    edges: which of them. A zero vector gets length 1e-6 and the finite values there.
    """
    compiled.edge_geometry.forward(*_steps(out), *edges, vectors, *out)


def write_backward(vectors: np.ndarray, g: Geometry, out: np.ndarray, edges: NodeRange) -> None:
    """Write to `out`, (E, 3), float64, the gradient of the vectors from that of the geometry."""
    compiled.edge_geometry.backward(*_steps(g), *edges, vectors, *g, out)


def _steps(edges: Geometry) -> Monomials:
    return monomials(round(edges.harmonics.shape[1] ** 0.5) - 1, edges.harmonics.dtype)
