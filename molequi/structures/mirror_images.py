"""Whether the mirror image of a geometry is another molecule, or a conformer of the same.

A molecule of given bonds is fixed, up to turns about single bonds and of rings, by the orientations
of its tetrahedral atoms, of the ends of its allenes and of its double bonds. Like atoms may change
places. So the mirror image is a conformer where an exchange of atoms that keeps the bonds (an
automorphism of their graph) turns the orientation of every centre and allene and keeps that of
every double bond. This needs no labels, and sees spiro centres too. What it does not see are single
bonds that cannot turn (hindered biaryls), helices and planes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors

from molequi.structures.cumulenes import double_bond_rows

_MOST_EXCHANGES = 20_000
_FLAT = 0.05  # of a product of unit vectors: such an orientation is neither
# Three neighbours and a lone pair that does not turn over: P, S, As, Se.
_PYRAMIDAL = (15, 16, 33, 34)
_SP3 = 4
_DOUBLE = Chem.BondType.DOUBLE


class _Element(NamedTuple):
    """What has one of two orientations: `sign` of the positions of `atoms` (K, 3).

    mirror: what the mirror makes of the sign, 1 or -1.
    """

    kind: str
    atoms: tuple[int, ...]
    sign: Callable[[np.ndarray], int]
    mirror: int


def has_allene(molecule: Chem.Mol) -> bool:
    """Tell whether a molecule with all its hydrogens has an allene whose ends both have a hand."""
    return any(element.kind == "allene" for element in _elements(molecule))


def is_conformer_of_image(molecule: Chem.Mol) -> bool:
    """Tell whether the mirror image of a molecule in space is a conformer of the same molecule.

    molecule: with all hydrogens, coordinates, and stereo marks read off these. False too where so
    many atoms are alike that not all exchanges were tried.
    """
    points, elements = molecule.GetConformer().GetPositions(), list(_elements(molecule))
    signs = [element.sign(points[list(element.atoms)]) for element in elements]
    return any(
        all(
            element.sign(points[[exchange[atom] for atom in element.atoms]])
            == element.mirror * sign
            for element, sign in zip(elements, signs, strict=True)
        )
        for exchange in _exchanges(molecule)
    )


def _exchanges(molecule: Chem.Mol) -> Iterator[Mapping[int, int]]:
    """Yield the automorphisms of the bonds, of heavy atoms and of hydrogens that are alone."""
    bare = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(bare)
    for atom in bare.GetAtoms():
        atom.SetIntProp("place", atom.GetIdx())
    bare = Chem.RemoveAllHs(bare, sanitize=False)
    places = [atom.GetIntProp("place") for atom in bare.GetAtoms()]
    if not places:
        yield {}
    for match in bare.GetSubstructMatches(bare, uniquify=False, maxMatches=_MOST_EXCHANGES):
        exchange = {places[k]: places[image] for k, image in enumerate(match)}
        hydrogens = _exchanged_hydrogens(molecule, exchange)
        if hydrogens is not None:
            yield exchange | hydrogens


def _exchanged_hydrogens(molecule: Chem.Mol, exchange: Mapping[int, int]) -> dict[int, int] | None:
    """Return which hydrogen becomes which; None where atoms have others, or other isotopes."""
    pairs = [(_hydrogens(molecule, k), _hydrogens(molecule, j)) for k, j in exchange.items()]
    if not all(_are_alike(molecule, *pair) for pair in pairs):
        return None
    return {mine: theirs for pair in pairs for mine, theirs in zip(*pair, strict=True)}


def _elements(molecule: Chem.Mol) -> Iterator[_Element]:
    for atom in molecule.GetAtoms():
        neighbours = _distinct_neighbours(atom, without=())
        if len(neighbours) == _SP3:
            yield _Element("centre", neighbours, _volume, -1)
        elif len(neighbours) == _SP3 - 1 and _keeps_its_lone_pair(atom):
            yield _Element("centre", (*neighbours, atom.GetIdx()), _volume, -1)
    for row in _double_bonds(molecule):
        yield from _ends(molecule, row)


def _double_bonds(molecule: Chem.Mol) -> list[tuple[int, ...]]:
    """Return the atoms of each row of double bonds, and of each double bond that is in none."""
    rows = double_bond_rows(molecule)
    inside = {atom for row in rows for atom in row[1:-1]}
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
        for bond in molecule.GetBonds()
        if bond.GetBondType() == _DOUBLE
    ]
    return [*rows, *(bond for bond in bonds if not inside.intersection(bond))]


def _ends(molecule: Chem.Mol, row: Sequence[int]) -> Iterator[_Element]:
    """Yield the orientation of the planar ends of one or more double bonds, where both have one."""
    first, second = molecule.GetAtomWithIdx(row[0]), molecule.GetAtomWithIdx(row[-1])
    left = _distinct_neighbours(first, without=row)
    right = _distinct_neighbours(second, without=row)
    fewer, more = sorted((len(left), len(right)))
    axis = (row[0], row[-1])
    if not fewer or more > 2:
        return
    if len(row) % 2 == 0 and not _has_further_double_bond(first, second):
        yield _Element("double bond", (*axis, left[0], right[0]), _side, 1)
    elif len(row) % 2 and fewer == 2:
        yield _Element("allene", (*axis, *left, *right), _twist, -1)


def _has_further_double_bond(first: Chem.Atom, second: Chem.Atom) -> bool:
    return any(
        sum(bond.GetBondType() == _DOUBLE for bond in atom.GetBonds()) > 1
        for atom in (first, second)
    )


def _distinct_neighbours(atom: Chem.Atom, without: Sequence[int]) -> tuple[int, ...]:
    """Return an atom's neighbours in a fixed order; none where two of them are alike ends.

    An end is a hydrogen, or an atom that carries nothing else but hydrogens.
    """
    neighbours = [other for other in atom.GetNeighbors() if other.GetIdx() not in without]
    n_hydrogens = [len(_hydrogens(other.GetOwningMol(), other.GetIdx())) for other in neighbours]
    ends = [
        (other.GetAtomicNum(), other.GetIsotope(), n)
        for other, n in zip(neighbours, n_hydrogens, strict=True)
        if other.GetDegree() - n <= 1
    ]
    if len(set(ends)) < len(ends):
        return ()
    return tuple(other.GetIdx() for other in neighbours)


def _hydrogens(molecule: Chem.Mol, place: int) -> list[int]:
    """Return the hydrogens of an atom, the lightest first."""
    neighbours = molecule.GetAtomWithIdx(place).GetNeighbors()
    found = [atom for atom in neighbours if atom.GetAtomicNum() == 1]
    return [atom.GetIdx() for atom in sorted(found, key=Chem.Atom.GetIsotope)]


def _are_alike(molecule: Chem.Mol, mine: Sequence[int], theirs: Sequence[int]) -> bool:
    """Tell whether hydrogens are as many, of the same isotopes."""
    of_mine, of_theirs = (
        [molecule.GetAtomWithIdx(number).GetIsotope() for number in numbers]
        for numbers in (mine, theirs)
    )
    return of_mine == of_theirs


def _keeps_its_lone_pair(atom: Chem.Atom) -> bool:
    """Whether a pyramid of three neighbours does not turn over: nitrogen does, but in a cage."""
    if atom.GetAtomicNum() in _PYRAMIDAL:
        return atom.GetHybridization() == Chem.HybridizationType.SP3
    if atom.GetAtomicNum() != 7 or atom.IsInRingSize(3):
        return False
    # RDKit marks no bridgehead beside an arene, as in Tröger's base.
    is_marked = atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
    bridgeheads: Any = []  # RDKit's stubs give it another type than it has
    rdMolDescriptors.CalcNumBridgeheadAtoms(atom.GetOwningMol(), bridgeheads)
    return is_marked or atom.GetIdx() in bridgeheads


def _volume(points: np.ndarray) -> int:
    """Return the sign of the volume of four neighbours."""
    return _sign(np.linalg.det(_units(points[:3] - points[3])))


def _twist(points: np.ndarray) -> int:
    """Return the sense in which the far end of an allene is turned against the near one."""
    first, second, *others = points
    left, right = others[0] - others[1], others[2] - others[3]
    return _sign(np.linalg.det(_units(np.stack([left, right, second - first]))))


def _side(points: np.ndarray) -> int:
    """Return 1 for cis, -1 for trans."""
    first, second, left, right = points
    axis = _units((second - first)[None])[0]
    arms = np.stack([left - first, right - second])
    across = _units(arms - (arms @ axis)[:, None] * axis)
    return _sign(float(across[0] @ across[1]))


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


def _sign(value: float) -> int:
    return 0 if abs(value) < _FLAT else int(np.sign(value))
