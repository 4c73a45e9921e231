"""Bases of equivariant polynomials: as many as characters say, and all independent."""

from __future__ import annotations

import numpy as np
import pytest

from molequi.o3.irreps import Irreps
from molequi.o3.symmetric import equivariant_polynomials, polynomials


def multiplicity(irreps: Irreps, output: Irreps, degree: int) -> int:
    """How often the output occurs in the symmetric power of the irreps.

    The mean over O(3) of the characters of both; the power's by Newton's identities.
    """
    angles = (np.arange(400) + 0.5) * np.pi / 400.0
    weights = (1.0 - np.cos(angles)) / 400.0

    def character(of: Irreps, times: int, sign: int) -> np.ndarray:
        turned = times * angles
        return sum(
            (p if sign**times < 0 else 1)
            * (1.0 + 2.0 * sum(np.cos(m * turned) for m in range(1, l + 1)))
            for l, p in of
        ) * np.ones_like(angles)

    total = 0.0
    for sign in (1, -1):
        one, two, three = (character(irreps, times, sign) for times in (1, 2, 3))
        power = {1: one, 2: (one**2 + two) / 2.0, 3: (one**3 + 3.0 * one * two + 2.0 * three) / 6.0}
        total += 0.5 * float((weights * power[degree] * character(output, 1, sign)).sum())
    assert total == pytest.approx(round(total), abs=1e-6)
    return round(total)


LAYOUTS = [Irreps.full(1), Irreps.full(2), Irreps.natural(2), Irreps.natural(3)]


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("irreps", [*LAYOUTS, Irreps("0e+0e"), Irreps("0e+1o+1o")], ids=str)
def test_paths_are_as_many_as_there_are_polynomials(irreps: Irreps, degree: int) -> None:
    """With both parities some paths are zero: (1o x 1e) . 1o = v . (v x a)."""
    for irrep in irreps:
        output = Irreps([irrep])
        (found,) = polynomials(irreps, output, degree)
        matrix = found.reshape(-1, found.shape[-1])
        assert found.shape[-1] == multiplicity(irreps, output, degree)
        assert found.shape[-1] == equivariant_polynomials(irreps, output, 3).counts[degree - 1]
        assert np.linalg.matrix_rank(matrix, tol=1e-8) == found.shape[-1]
        assert np.linalg.norm(matrix, axis=0).min(initial=1.0) > 0.1
