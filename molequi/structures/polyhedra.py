"""Shapes of atoms with five to seven electron pairs, such as those of SF6, PF5, SF4 and I3-.

RDKit's embedding knows no such shape and puts neighbours of these atoms anywhere, into each other
too. Here they stand as the repulsion of electron pairs has them (R. J. Gillespie and R. S. Nyholm,
Q. Rev. Chem. Soc. 11, 339 (1957)): lone pairs and double bonds on the equator of a bipyramid, two
lone pairs of an octahedron opposite each other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii
from rdkit import Chem, DistanceGeometry
from rdkit.Chem import rdDistGeom

_POLES = ((0.0, 0.0, 1.0), (0.0, 0.0, -1.0))


def _equator(n: int) -> tuple[tuple[float, float, float], ...]:
    angles = 2.0 * np.pi * np.arange(n) / n
    return tuple((float(np.cos(angle)), float(np.sin(angle)), 0.0) for angle in angles)


# Directions by the number of electron pairs. Lone pairs take the last ones.
_DIRECTIONS = {
    5: np.array([*_POLES, *_equator(3)]),
    6: np.array([*_equator(4), *_POLES]),
    7: np.array([*_POLES, *_equator(5)]),
}
_MOST_LONE_PAIRS = {5: 3, 6: 2, 7: 0}
_LARGEST_RING = 6  # that cannot reach across its atom
_ACROSS = -0.99
# Å: what distances may be off.
SLACK = 0.02
# Å: what may come near of what hangs on neighbours.
_NEAREST = 1.5
# Å: between the bounds of a bond of atoms that RDKit knows.
_KNOWN = 0.1


class Shape(NamedTuple):
    """An atom, its neighbours, and the unit vectors to these: (K, 3)."""

    centre: int
    neighbours: tuple[int, ...]
    directions: np.ndarray


class Distance(NamedTuple):
    """Two atoms and how far they are apart, Å."""

    first: int
    second: int
    length: float


def bounds(molecule: Chem.Mol, seed: int) -> np.ndarray | None:
    """Return RDKit's bounds of distances with those of the shapes; None where it has none.

    molecule: with all its hydrogens. seed: of which ligand stands where, among equal places.
    (N, N), Å, upper bounds above the diagonal and lower ones below.
    """
    found = list(shapes(molecule, seed))
    if not found:
        return None
    limits = rdDistGeom.GetMoleculeBoundsMatrix(molecule, set15bounds=False)
    for shape in found:
        _set(limits, molecule, shape)
    return limits if DistanceGeometry.DoTriangleSmoothing(limits) else None


def shapes(molecule: Chem.Mol, seed: int) -> Iterator[Shape]:
    """Yield the shapes of a molecule; those that the marks of a SMILES give are left alone."""
    kekulized = Chem.Mol(molecule)
    Chem.Kekulize(kekulized, clearAromaticFlags=True)
    for atom in kekulized.GetAtoms():
        n_lone = _lone_pairs(atom)
        if n_lone is None or has_marked_shape(atom):
            continue
        pairs = atom.GetDegree() + n_lone
        if n_lone <= _MOST_LONE_PAIRS.get(pairs, -1) and atom.GetDegree() > 1:
            # One sequence for each atom: a fragment alone has the shapes that it has among others.
            yield _placed(kekulized, atom, _DIRECTIONS[pairs], np.random.default_rng(seed))


def has_marked_shape(atom: Chem.Atom) -> bool:
    """Whether an atom has a mark of a square, a bipyramid or an octahedron: `@SP1`, `@OH3`."""
    return bool(atom.GetChiralTag() > Chem.ChiralType.CHI_ALLENE)


def has_hand(atom: Chem.Atom) -> bool:
    """Whether an atom has such a mark of which there are two mirror images."""
    return bool(atom.GetChiralTag() > Chem.ChiralType.CHI_SQUAREPLANAR)


def _lone_pairs(atom: Chem.Atom) -> int | None:
    """Count the lone pairs of an atom of the p block; None where they are not whole, and others."""
    number = atom.GetAtomicNum()
    if not any(first <= number < first + 6 for first in (13, 31, 49, 81)):
        return None
    orders = [bond.GetBondTypeAsDouble() for bond in atom.GetBonds()]
    outer = Chem.GetPeriodicTable().GetNOuterElecs(number)
    left = outer - atom.GetFormalCharge() - atom.GetNumRadicalElectrons() - sum(orders)
    return int(left) // 2 if left >= 0 and left % 2 == 0 else None


def _placed(
    molecule: Chem.Mol, atom: Chem.Atom, directions: np.ndarray, random: np.random.Generator
) -> Shape:
    """Give each neighbour the direction that suits it best."""
    neighbours = [int(n) for n in random.permutation([n.GetIdx() for n in atom.GetNeighbors()])]
    places = directions[: len(neighbours)]
    in_ring = _joined(molecule, atom.GetIdx(), neighbours)
    cosines = places @ places.T
    likings = np.array([_liking(molecule, atom, neighbour) for neighbour in neighbours])
    if len(directions) == len(_DIRECTIONS[6]):
        # Opposite a lone pair stands what would be on a bipyramid's equator, elsewhere anything.
        likings *= -1.0 if len(neighbours) == len(directions) - 1 else 0.0

    def cost(order: tuple[int, ...]) -> float:
        between = cosines[np.ix_(order, order)]
        across, wide = between < _ACROSS, between < -0.1
        in_poles = np.abs(places[list(order), 2]) > 0.5
        return float(100.0 * (in_ring & across).sum() + (in_ring & wide).sum() - likings @ in_poles)

    best = min(itertools.permutations(range(len(neighbours))), key=cost)
    return Shape(atom.GetIdx(), tuple(neighbours), places[list(best)])


def _liking(molecule: Chem.Mol, atom: Chem.Atom, neighbour: int) -> float:
    """Return how much a neighbour prefers a pole: electronegative ones do, double bonds do not."""
    order = molecule.GetBondBetweenAtoms(atom.GetIdx(), neighbour).GetBondTypeAsDouble()
    number = molecule.GetAtomWithIdx(neighbour).GetAtomicNum()
    return 0.01 * Chem.GetPeriodicTable().GetNOuterElecs(number) - 10.0 * (order > 1.0)


def _joined(molecule: Chem.Mol, centre: int, neighbours: list[int]) -> np.ndarray:
    """Tell which neighbours small rings join: (K, K)."""
    joined = np.zeros((len(neighbours), len(neighbours)), dtype=bool)
    for ring in molecule.GetRingInfo().AtomRings():
        if centre in ring and len(ring) <= _LARGEST_RING:
            inside = np.isin(neighbours, ring)
            joined |= np.outer(inside, inside)
    np.fill_diagonal(joined, False)
    return joined


def distances(molecule: Chem.Mol, seed: int) -> list[Distance]:
    """Return the distances that make the shapes of a molecule, those of bonds among them."""
    found = list(shapes(molecule, seed))
    limits = rdDistGeom.GetMoleculeBoundsMatrix(molecule, set15bounds=False) if found else None
    return [] if limits is None else [one for s in found for one in _sides(limits, molecule, s)]


def _sides(limits: np.ndarray, molecule: Chem.Mol, shape: Shape) -> Iterator[Distance]:
    """Yield the distances of a shape, from its centre and between its neighbours."""
    atoms = (shape.centre, *shape.neighbours)
    lengths = np.array([_length(limits, molecule, shape.centre, one) for one in shape.neighbours])
    places = np.concatenate([np.zeros((1, 3)), shape.directions * lengths[:, None]])
    for a, b in itertools.combinations(range(len(atoms)), 2):
        yield Distance(atoms[a], atoms[b], float(np.linalg.norm(places[a] - places[b])))


def _set(limits: np.ndarray, molecule: Chem.Mol, shape: Shape) -> None:
    """Set the distances within a shape, and free those of what hangs on its neighbours."""
    inside = {shape.centre, *shape.neighbours}
    for first, second, length in list(_sides(limits, molecule, shape)):
        _put(limits, first, second, length - SLACK, length + SLACK)
        if first == shape.centre:
            continue
        for one, other in ((first, second), (second, first)):
            for further in molecule.GetAtomWithIdx(one).GetNeighbors():
                number = further.GetIdx()
                if number not in inside:
                    reach = _middle(limits, one, number)
                    _put(limits, number, other, max(length - reach, _NEAREST), length + reach)


def _length(limits: np.ndarray, molecule: Chem.Mol, one: int, other: int) -> float:
    """Return the length of a bond; where RDKit does not know the atoms by their radii."""
    if abs(limits[one, other] - limits[other, one]) < _KNOWN:
        return _middle(limits, one, other)
    numbers = [molecule.GetAtomWithIdx(atom).GetAtomicNum() for atom in (one, other)]
    return float(covalent_radii[numbers].sum())


def _middle(limits: np.ndarray, one: int, other: int) -> float:
    return 0.5 * float(limits[one, other] + limits[other, one])


def _put(limits: np.ndarray, one: int, other: int, least: float, most: float) -> None:
    low, high = sorted((one, other))
    limits[low, high], limits[high, low] = most, least
