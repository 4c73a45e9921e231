"""Molecules whose hydrogens are missing, told from radicals, carbenes and carbon by geometry.

Bond orders n follow from lengths d by Pauling's rule, d(1) - d(n) = 0.71 Å log10(n) (L. Pauling,
J. Am. Chem. Soc. 69, 542 (1947), there with 0.60 Å for metals and 0.71 Å for carbon).
"""

from __future__ import annotations

from typing import NamedTuple

import ase
import numpy as np
from ase.data import covalent_radii
from scipy.spatial import cKDTree

_PAULING = 0.71  # Å
_BONDED = 1.15  # times the sum of covalent radii
_LONGEST_BOND = 3.2  # Å; a longer one between the elements below is none
# Single bonds of carbon, Å. Carbons bonded to anything else are not judged.
_SINGLE = {5: 1.58, 6: 1.54, 7: 1.47, 8: 1.43, 9: 1.38, 14: 1.87, 15: 1.87, 16: 1.82, 17: 1.78,
           32: 1.95, 33: 1.97, 34: 1.95, 35: 1.94, 53: 2.14}  # fmt: skip
_HALOGENS = (9, 17, 35, 53)
_IN_LINE = -0.87  # cosine of 150 degrees
# A carbon at the end of a triple bond has more, =CH2 and CH3 without their hydrogens have less.
_TRIPLE = 2.2
# An angular carbon in two double bonds, as in cyclic carbon and in bent CO2, has more; one of
# benzene, a carbonyl or an alkane has less.
_TWO_DOUBLE = 3.55
# A pyramidal one with three neighbours has less in an alkane, more in CF3 and in fullerenes.
_PYRAMIDAL, _THREE = 345.0, 3.4
# A carbon with one neighbour in a single bond is no fragment that chemistry knows.
_SINGLY = 1.25
# N and O at the end of a bond to carbon: amines and alcohols without hydrogen are below, amides
# and acids too; carboxylates, nitriles and ketones above.
_OPEN_N, _OPEN_O = 1.75, 1.4
_ENOUGH = 2


class Openness(NamedTuple):
    """Open valences of a structure in which no carbon has a hydrogen.

    n_carbons: carbons with open valences. is_certain: nothing but missing hydrogens explains them;
    else it may be a radical, a carbene or a piece of carbon.
    """

    n_carbons: int
    is_certain: bool


class BondTable(NamedTuple):
    """Of each atom the neighbours, and the vectors to them, (n, 3), Å."""

    neighbours: list[list[int]]
    vectors: list[np.ndarray]


def openness(atoms: ase.Atoms) -> Openness:
    """Find carbons, N and O at chains' ends whose bonds leave room for hydrogen.

    Periodic structures, and those with a hydrogen on any carbon, are whole. One sign alone is not
    certain: CF2, FCO, CN and a stretched CO or C2 are what they are. Carbon alone is where half of
    it is closed, or it is a chain: graphite and soot have edges.
    """
    numbers = atoms.numbers
    carbons = np.flatnonzero(numbers == 6).tolist()
    if atoms.pbc.any() or not carbons:
        return Openness(0, is_certain=False)
    bonds = bond_table(atoms)
    if _has_hydrogen(numbers, bonds, carbons):
        return Openness(0, is_certain=False)
    signs = [_signs_of_carbon(numbers, bonds, index) for index in carbons]
    n_open = sum(sign > 0 for sign in signs)
    if (numbers == 6).all():
        is_certain = 2 * n_open >= len(atoms) > 2 and not _is_chain(bonds)
    else:
        ends = sum(
            _is_open_end(numbers, bonds, index) for index in np.flatnonzero(numbers != 6).tolist()
        )
        is_certain = n_open > 0 and len(atoms) > 2 and sum(signs) + ends >= _ENOUGH
    return Openness(n_open, is_certain)


def bond_table(atoms: ase.Atoms) -> BondTable:
    """Find the bonds of a molecule by the sums of covalent radii."""
    neighbours: list[list[int]] = [[] for _ in atoms]
    radii = covalent_radii[atoms.numbers]
    for i, j in sorted(cKDTree(atoms.positions).query_pairs(_LONGEST_BOND)):
        distance = np.linalg.norm(atoms.positions[i] - atoms.positions[j])
        if distance < _BONDED * (radii[i] + radii[j]):
            neighbours[i].append(j)
            neighbours[j].append(i)
    vectors = [atoms.positions[near] - atoms.positions[i] for i, near in enumerate(neighbours)]
    return BondTable(neighbours, vectors)


def _has_hydrogen(numbers: np.ndarray, bonds: BondTable, carbons: list[int]) -> bool:
    return any(numbers[other] == 1 for carbon in carbons for other in bonds.neighbours[carbon])


def _signs_of_carbon(numbers: np.ndarray, bonds: BondTable, carbon: int) -> int:
    """Return 0 for a closed carbon, 1 for an open one, 2 for one that cannot be a fragment."""
    near, to = numbers[bonds.neighbours[carbon]], bonds.vectors[carbon]
    if len(near) not in {1, 2, 3} or not set(near.tolist()) <= set(_SINGLE):
        return 0
    lengths = np.linalg.norm(to, axis=1)
    orders = pauling_orders(near, lengths)
    if len(near) == 1:
        if orders[0] > _TRIPLE:
            return 0
        return 2 if orders[0] < _SINGLY and near[0] not in _HALOGENS else 1
    if len(near) == 3:
        return int(orders.sum() < _THREE and sum_of_angles(to) < _PYRAMIDAL)
    return int(not in_line(bonds, carbon) and orders.sum() < _TWO_DOUBLE)


def pauling_orders(others: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return Pauling's orders of bonds of carbon to `others`; lengths: Å, as many."""
    single = np.array([_SINGLE[int(number)] for number in others])
    return np.asarray(10 ** ((single - lengths) / _PAULING))


def _is_open_end(numbers: np.ndarray, bonds: BondTable, index: int) -> bool:
    """Tell whether an N or O has one neighbour, a carbon, by a bond that is not multiple."""
    near = bonds.neighbours[index]
    if numbers[index] not in {7, 8} or len(near) != 1 or numbers[near[0]] != 6:
        return False
    order = pauling_orders(numbers[[index]], np.linalg.norm(bonds.vectors[index], axis=1))[0]
    return bool(order < (_OPEN_N if numbers[index] == 7 else _OPEN_O))


def _is_chain(bonds: BondTable) -> bool:
    """Tell whether atoms are in line: no atom has more than two neighbours, nor an angle."""
    return all(len(to) < 2 or in_line(bonds, index) for index, to in enumerate(bonds.vectors))


def in_line(bonds: BondTable, index: int) -> bool:
    """Tell whether an atom has two neighbours, and is in line with them."""
    to = bonds.vectors[index]
    return len(to) == 2 and bool(to[0] @ to[1] < _IN_LINE * np.linalg.norm(to, axis=1).prod())


def sum_of_angles(vectors: np.ndarray) -> float:
    """Return the sum of the angles between three vectors (3, 3), degrees; 360 in a plane."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.clip([units[i] @ units[i - 1] for i in range(3)], -1.0, 1.0)
    return float(np.degrees(np.arccos(cosines)).sum())
