"""Clebsch-Gordan coefficients in the real basis.

The coefficients are computed here from Racah's formula, so that a checkpoint gives the same numbers
under every version of e3nn; the tests hold them to e3nn's `wigner_3j` at 1e-12.
"""

from __future__ import annotations

import functools
from math import factorial, sqrt

import numpy as np


@functools.lru_cache
def wigner_3j(l1: int, l2: int, l3: int) -> np.ndarray:
    """Return the invariant tensor of l1 x l2 x l3 in the real basis, of Frobenius norm 1.

    (2 l1 + 1, 2 l2 + 1, 2 l3 + 1). Sign and basis are those of `e3nn.o3.wigner_3j`. Raises
    ValueError where the triangle rule forbids the coupling.
    """
    if not abs(l1 - l2) <= l3 <= l1 + l2:
        raise ValueError(f"l = {l1}, {l2}, {l3} break the triangle rule |l1 - l2| <= l3 <= l1 + l2")
    real = [_real_basis(l) for l in (l1, l2, l3)]
    tensor = np.einsum(
        "ij,kl,nm,ikn->jlm", real[0], real[1], real[2].conj(), _complex_coefficients(l1, l2, l3)
    )
    tensor = np.ascontiguousarray(tensor.real)
    tensor /= np.linalg.norm(tensor)
    tensor.setflags(write=False)
    return tensor


def _complex_coefficients(l1: int, l2: int, l3: int) -> np.ndarray:
    """<l1 m1 l2 m2 | l3 m3> with m running upwards."""
    out = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            out[l1 + m1, l2 + m2, l3 + m1 + m2] = _racah(l1, m1, l2, m2, l3)
    return out


def _racah(j1: int, m1: int, j2: int, m2: int, j3: int) -> float:
    """Racah's formula for one coefficient.

    Varshalovich et al., Quantum Theory of Angular Momentum, 1988, section 8.2.1.
    """
    f, m3 = factorial, m1 + m2
    triangle = f(j3 + j1 - j2) * f(j3 - j1 + j2) * f(j1 + j2 - j3) / f(j1 + j2 + j3 + 1)
    norm = (
        (2 * j3 + 1)
        * triangle
        * f(j3 + m3)
        * f(j3 - m3)
        * f(j1 - m1)
        * f(j1 + m1)
        * f(j2 - m2)
        * f(j2 + m2)
    )
    total = 0.0
    for k in range(max(0, j2 - j3 - m1, j1 - j3 + m2), min(j1 + j2 - j3, j1 - m1, j2 + m2) + 1):
        total += (-1) ** k / (
            f(k)
            * f(j1 + j2 - j3 - k)
            * f(j1 - m1 - k)
            * f(j2 + m2 - k)
            * f(j3 - j2 + m1 + k)
            * f(j3 - j1 - m2 + k)
        )
    return sqrt(norm) * total


def _real_basis(l: int) -> np.ndarray:
    """Columns: e3nn's real spherical harmonics in the complex ones.

    They are multiplied by (-i)^l, so that all couplings are real.
    """
    q = np.zeros((2 * l + 1, 2 * l + 1), dtype=np.complex128)
    q[l, l] = 1.0
    for m in range(1, l + 1):
        q[l - m, l + m], q[l - m, l - m] = sqrt(0.5), -1j * sqrt(0.5)
        q[l + m, l + m], q[l + m, l - m] = (-1) ** m * sqrt(0.5), 1j * (-1) ** m * sqrt(0.5)
    return (-1j) ** l * q
