"""Which geometries of one molecule are the same conformer."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from ase import Atoms

# Two geometries are one conformer where distances (Å) and triple products agree to this. Triple
# products of mirror images differ by twice their size, 2e-3 and more for gauche chains; what
# relaxation leaves of a torsion moves them by 3e-4.
_SAME_DISTANCE, _SAME_PRODUCTS, _NO_PRODUCTS = 0.1, 0.2, 5e-4


class Shape(NamedTuple):
    """What does not change with a rotation and the names of equal atoms.

    distances: (K,), Å, sorted within each pair of kinds of atoms. products: (N,), see
    `_triple_products`.
    """

    distances: np.ndarray
    products: np.ndarray

    def is_that_of(self, other: Shape) -> bool:
        """Whether two geometries are one conformer; mirror images are not."""
        if np.abs(self.distances - other.distances).max(initial=0.0) > _SAME_DISTANCE:
            return False
        largest = max(np.abs(shape.products).max(initial=0.0) for shape in (self, other))
        turned = np.abs(self.products - other.products).max(initial=0.0)
        return bool(turned <= max(_NO_PRODUCTS, _SAME_PRODUCTS * largest))


def shape_of(atoms: Atoms) -> Shape:
    """Return the shape of a geometry."""
    distances, kinds = atoms.get_all_distances(), _kinds(atoms)
    pairs = itertools.combinations_with_replacement(np.unique(kinds), 2)
    sorted_ = [np.sort(distances[np.ix_(kinds == a, kinds == b)], axis=None) for a, b in pairs]
    return Shape(np.concatenate(sorted_), _triple_products(atoms))


def is_same_conformer(first: Atoms, second: Atoms) -> bool:
    """Whether two geometries of one molecule agree but for a rotation and the names of equal atoms.

    Mirror images are not the same.
    """
    return shape_of(first).is_that_of(shape_of(second))


def _kinds(atoms: Atoms) -> np.ndarray:
    """Number the kinds of atoms, by element and isotope: (N,)."""
    both = np.stack([atoms.numbers, atoms.get_masses()], axis=1)
    return np.unique(both, axis=0, return_inverse=True)[1].ravel()


def _triple_products(atoms: Atoms) -> np.ndarray:
    """Return sorted pseudoscalars of the atoms of each kind, which change sign in a mirror.

    t = (a x b) . c / max |a| |b| |c| with a, b, c = sum_j Z_j r_ij exp(-k r_ij / Å), k = 0.5, 1, 2:
    the largest product of lengths in the molecule makes them pure numbers.
    """
    vectors = atoms.positions[None] - atoms.positions[:, None]
    lengths = np.linalg.norm(vectors, axis=2)[..., None]
    sums = [
        (atoms.numbers[None, :, None] * vectors * np.exp(-k * lengths)).sum(axis=1)
        for k in (0.5, 1.0, 2.0)
    ]
    triple = np.einsum("nx,nx->n", np.cross(sums[0], sums[1]), sums[2])
    triple /= max(np.prod([np.linalg.norm(part, axis=1) for part in sums], axis=0).max(), 1e-12)
    kinds = _kinds(atoms)
    return np.concatenate([np.sort(triple[kinds == kind]) for kind in np.unique(kinds)])
