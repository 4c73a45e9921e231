"""The numbers of e3nn 0.5 and 0.6."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molequi.o3.clebsch_gordan import wigner_3j
from molequi.o3.spherical_harmonics import spherical_harmonics

# Contraction of o3.wigner_3j(l1, l2, l3, dtype=float64) with cos(1 + k + m (k + 1)), k = 0, 1, 2
# for its three indices m = 0, 1, ... Printed by e3nn 0.5.8 and by e3nn 0.6.0 under torch 2.13.0
# with float64 as the default dtype; all digits agree.
WIGNER = {
    (0, 0, 0): 0.22259495730990,
    (0, 1, 1): -0.34016433504967,
    (0, 2, 2): -0.13913458973076,
    (0, 3, 3): -0.01909401362112,
    (1, 1, 1): 0.57694493513798,
    (1, 1, 2): -0.39166759582396,
    (1, 2, 2): 0.14661770778425,
    (1, 2, 3): 0.12959134960329,
    (1, 3, 3): -0.68416764082691,
    (2, 2, 2): 0.45735701433910,
    (2, 2, 3): 0.46691981256320,
    (2, 3, 3): 0.26962220785496,
    (3, 3, 3): -0.43362679716403,
}


# Component normalised harmonics of o3.spherical_harmonics for l = 0 to 3, printed in the same way.
HARMONICS = {
    (0.6, 0.0, 0.8): [
        1.0,
        1.03923048454133,
        0.0,
        1.3856406460551,
        1.85903200617956,
        0.0,
        -1.11803398874989,
        0.0,
        0.54221766846904,
        1.95778446208974,
        0.0,
        -0.97211110476118,
        0.0,
        -1.29614813968157,
        0.0,
        -0.73626082334999,
    ],
    (2 / 3, -1 / 3, 2 / 3): [
        1.0,
        1.15470053837925,
        -0.57735026918963,
        1.15470053837925,
        1.72132593164774,
        -0.86066296582387,
        -0.74535599249993,
        -0.86066296582387,
        0.0,
        1.23949633560604,
        -1.51806678014216,
        -0.48005486654873,
        1.07789868228557,
        -0.48005486654873,
        0.0,
        -1.23949633560604,
    ],
}


@pytest.mark.parametrize("degrees", WIGNER, ids=str)
def test_coefficients_are_those_of_both_versions_of_e3nn(degrees: tuple[int, int, int]) -> None:
    vectors = [np.cos(1.0 + k + np.arange(2 * l + 1) * (k + 1)) for k, l in enumerate(degrees)]
    assert np.einsum("abc,a,b,c", wigner_3j(*degrees), *vectors) == pytest.approx(
        WIGNER[degrees], abs=1e-13
    )


@pytest.mark.parametrize("direction", HARMONICS, ids=str)
def test_harmonics_are_those_of_both_versions_of_e3nn(
    direction: tuple[float, float, float],
) -> None:
    values = spherical_harmonics(torch.tensor([direction], dtype=torch.float64), 3)[0]
    np.testing.assert_allclose(values, HARMONICS[direction], atol=1e-13)
