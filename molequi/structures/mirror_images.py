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
from molequi.structures.stereo_marks import is_held_nitrogen

_MOST_EXCHANGES = 20_000
_FLAT = 0.05  # of a product of unit vectors: such an orientation is neither
# Three neighbours and a lone pair that does not turn over: P, S, As, Se.
_PYRAMIDAL = (15, 16, 33, 34)
_SP3 = 4
_DOUBLE = Chem.BondType.DOUBLE
_Kind = tuple[int, ...]  # atomic number, isotope, and the isotopes of the hydrogens on it


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


def is_conformer_of_image(molecule: Chem.Mol) -> bool | None:
    """Tell whether the mirror image of a molecule in space is a conformer of the same molecule.

    molecule: with all hydrogens, coordinates, and stereo marks read off these. None where so many
    atoms are alike that not all exchanges were tried.
    """
    points, elements = molecule.GetConformer().GetPositions(), list(_elements(molecule))
    signs = [element.sign(points[list(element.atoms)]) for element in elements]
    if not elements:
        return True
    n_tried = 0
    for exchange in _exchanges(molecule, elements):
        n_tried += 1
        if all(
            element.sign(points[[exchange[atom] for atom in element.atoms]])
            == element.mirror * sign
            for element, sign in zip(elements, signs, strict=True)
        ):
            return True
    return None if n_tried >= _MOST_EXCHANGES else False


def _exchanges(molecule: Chem.Mol, elements: Sequence[_Element]) -> Iterator[Mapping[int, int]]:
    """Yield the automorphisms of the bonds, of the atoms that matter.

    Like ends of one atom do not, nor molecules beside without an element: exchanging them changes
    no sign, and each tert-butyl group would make the automorphisms six times as many.
    """
    bare = Chem.RWMol(molecule)
    Chem.RemoveStereochemistry(bare)
    kinds: dict[object, int] = {}
    for atom, kept in zip(molecule.GetAtoms(), bare.GetAtoms(), strict=True):
        kept.SetIntProp("place", atom.GetIdx())
        # A kind stands as isotope, which a match compares.
        counts = sorted((kind, len(ends)) for kind, ends in _like_ends(atom).items())
        kept.SetIsotope(kinds.setdefault((atom.GetIsotope(), *counts), len(kinds) + 1))
    bare.BeginBatchEdit()
    for place in _needless(molecule, elements):
        bare.RemoveAtom(place)
    bare.CommitBatchEdit()
    places = [atom.GetIntProp("place") for atom in bare.GetAtoms()]
    for match in bare.GetSubstructMatches(bare, uniquify=False, maxMatches=_MOST_EXCHANGES):
        yield {places[k]: places[image] for k, image in enumerate(match)}


def _needless(molecule: Chem.Mol, elements: Sequence[_Element]) -> set[int]:
    """Return the like ends of each atom with their hydrogens, and molecules without an element."""
    inside = {place for element in elements for place in element.atoms}
    needless: set[int] = set()
    for atom in molecule.GetAtoms():
        for ends in _like_ends(atom).values():
            places = {*ends, *(place for end in ends for place in _hydrogens(molecule, end))}
            if len(ends) > 1 and inside.isdisjoint(places):
                needless.update(places)
    for fragment in Chem.GetMolFrags(molecule):
        if inside.isdisjoint(fragment):
            needless.update(fragment)
    return needless


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
    if not fewer or more > 2 or any(_is_out_of_plane(end) for end in (first, second)):
        return
    if len(row) % 2 == 0 and not _has_further_double_bond(first, second):
        yield _Element("double bond", (*axis, left[0], right[0]), _side, 1)
    elif len(row) % 2 and fewer == 2:
        yield _Element("allene", (*axis, *left, *right), _twist, -1)


def _is_out_of_plane(atom: Chem.Atom) -> bool:
    """Whether the end of a double bond is not planar, as the sulfur of S=N beside two carbons."""
    return atom.GetAtomicNum() in _PYRAMIDAL and atom.GetDegree() > 2


def _has_further_double_bond(first: Chem.Atom, second: Chem.Atom) -> bool:
    return any(
        sum(bond.GetBondType() == _DOUBLE for bond in atom.GetBonds()) > 1
        for atom in (first, second)
    )


def _distinct_neighbours(atom: Chem.Atom, without: Sequence[int]) -> tuple[int, ...]:
    """Return an atom's neighbours in a fixed order; none where two of them are like ends."""
    others = [other.GetIdx() for other in atom.GetNeighbors() if other.GetIdx() not in without]
    if any(len(set(others).intersection(ends)) > 1 for ends in _like_ends(atom).values()):
        return ()
    return tuple(others)


def _like_ends(atom: Chem.Atom) -> dict[_Kind, list[int]]:
    """Return the ends among an atom's neighbours: kind -> their places.

    An end is a hydrogen, or an atom that carries nothing else but hydrogens of one isotope.
    """
    found: dict[_Kind, list[int]] = {}
    for other in atom.GetNeighbors():
        hydrogens = [near for near in other.GetNeighbors() if near.GetAtomicNum() == 1]
        isotopes = [near.GetIsotope() for near in hydrogens if near.GetIdx() != atom.GetIdx()]
        if other.GetDegree() - len(isotopes) <= 1 and len(set(isotopes)) <= 1:
            kind = (other.GetAtomicNum(), other.GetIsotope(), *isotopes)
            found.setdefault(kind, []).append(other.GetIdx())
    return found


def _hydrogens(molecule: Chem.Mol, place: int) -> list[int]:
    neighbours = molecule.GetAtomWithIdx(place).GetNeighbors()
    return [atom.GetIdx() for atom in neighbours if atom.GetAtomicNum() == 1]


def _keeps_its_lone_pair(atom: Chem.Atom) -> bool:
    """Whether a pyramid of three neighbours does not turn over.

    Nitrogen does, but in a cage and in some three-membered rings.
    """
    if atom.GetAtomicNum() in _PYRAMIDAL:
        return atom.GetHybridization() == Chem.HybridizationType.SP3
    if is_held_nitrogen(atom):
        return True
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
