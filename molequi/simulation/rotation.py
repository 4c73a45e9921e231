"""Rotational constants of a rigid molecule.

    B_i = h / (8 pi^2 I_i),    in cm^-1 divided by c,

with the principal moments of inertia I_1 <= I_2 <= I_3 about the centre of mass (G. Herzberg,
Molecular Spectra and Molecular Structure II, 1945, chapter I). The masses are those of the
structure: of its isotopes where they are named, else of the natural mixture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import units

from molequi.graphs.elements import about_centre_of_mass

# I in amu Å² times B in Hz.
_HERTZ = units._hplanck / (8.0 * np.pi**2 * units._amu * 1e-20)


class RotationalConstants(NamedTuple):
    """A >= B >= C in GHz and in cm^-1; A of a linear molecule is infinite, and None."""

    ghz: list[float | None]
    cm1: list[float | None]


def rotational_constants(
    positions: np.ndarray, masses: np.ndarray, *, is_linear: bool
) -> RotationalConstants | None:
    """Return the constants of a molecule; None of a single atom, which does not rotate.

    positions: (N, 3), Å. masses: (N,), amu.
    """
    if len(masses) < 2:
        return None
    hertz = [
        None if moment is None else _HERTZ / moment
        for moment in principal_moments(positions, masses, is_linear=is_linear)
    ]
    ghz, cm1 = (
        [None if value is None else value / unit for value in hertz]
        for unit in (1e9, 100.0 * units._c)
    )
    return RotationalConstants(ghz, cm1)


def principal_moments(
    positions: np.ndarray, masses: np.ndarray, *, is_linear: bool
) -> list[float | None]:
    """Return the principal moments, amu Å², ascending; None for that about a line of atoms."""
    centred = about_centre_of_mass(positions, masses)
    second = np.einsum("n,ni,nj->ij", masses, centred, centred)
    moments = np.linalg.eigvalsh(np.trace(second) * np.eye(3) - second)
    return [None if is_linear else float(moments[0]), *map(float, moments[1:])]
