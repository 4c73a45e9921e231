"""What the kernels of pairs read, and the numbers that they share with plain torch (`nn.physics`).

Points are positions (N, 3), Å, and, where a structure of the batch is periodic, four rows more for
each of the B: its cell vectors and (V, 0, 0) with its volume V, Å³. Gradients by points have the
same shape.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import units

# e²/(4 pi eps0), eV Å; `ase.units` counts in eV, Å and e, so this is 14.3996.
COULOMB_CONSTANT = units.Hartree * units.Bohr
# From this x² on exp(-x²/(1 - x²)) is less than any float64 tells from zero beside 1.
NOTHING_LEFT = 0.9986
# Coincident atoms are this far from each other, Å: their direction is zero and nothing is NaN.
NEAREST = 1e-10
# k1 and k3 of D3 (J. Chem. Phys. 132, 154104 (2010)).
STEEPNESS, WIDTH = 16.0, 4.0
# The most reference systems that an element has.
SYSTEMS = 7
# Å, between which atoms cease to count for D3's coordination numbers, and for crystals' energies.
INNER, OUTER = 36.0 * units.Bohr, 40.0 * units.Bohr
# Ewald's sum of pairs ends where erfc(a r), at this a r, is next to nothing.
LAST = 5.3
# Rows of points that belong to a structure beside its atoms.
CELL_ROWS = 4


class Space(NamedTuple):
    """Which atoms meet, and through which images.

    batch: (N,), the structure of each atom. ends: (N,), the first atom after each that is not of
    its structure. shifts: (M, 3), cell counts of images, float64. first, last: (B,), the images of
    each structure, as a range of M, by distance: first the structure itself, then an image and the
    opposite one in turn. reach: (B,), Å, of pairs; infinite for molecules. widths: (B,), 1/Å, of
    Ewald's splitting; 0 for molecules.
    """

    batch: np.ndarray
    ends: np.ndarray
    shifts: np.ndarray
    first: np.ndarray
    last: np.ndarray
    reach: np.ndarray
    widths: np.ndarray


class Elements(NamedTuple):
    """The T elements of a call; T is 0 without dispersion.

    numbers: (N,), atomic numbers. kinds: (N,), which of the T each atom is. present: (T,), their
    atomic numbers. sizes: (T,), how many reference systems they have. terms: (T, T, 4), of two of
    them R_cov (Å), Q (Å²), R^6, R^8. c6: (Z + 1, Z + 1, R, R), eV Å⁶, R = SYSTEMS.
    weights: (3, N, R), of the reference systems, zero where there is none, with two derivatives by
    the coordination number.
    """

    numbers: np.ndarray
    kinds: np.ndarray
    present: np.ndarray
    sizes: np.ndarray
    terms: np.ndarray
    c6: np.ndarray
    weights: np.ndarray


class Strengths(NamedTuple):
    """What acts. radius: Å, of the damping of Coulomb's energy; 0 where there is none.

    s6, s8: of D3. sixth, eighth: integrals of the dispersion beyond the switch, 1/Å³ and 1/Å⁵.
    """

    radius: float
    s6: float
    s8: float
    sixth: float
    eighth: float
