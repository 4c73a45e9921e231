"""Stereo marks of RDKit molecules as their coordinates have them."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

# Phosphorus and arsenic with three neighbours keep their lone pair in place; RDKit reads the marks
# of sulfur and selenium off coordinates, theirs only from SMILES.
_PYRAMIDAL = (15, 33)
_NITROGEN = 7
_HOLDING = (7, 8, 9, 17, 35, 53)  # neighbours that keep nitrogen from turning over
_LARGEST_CIS = 7  # atoms of a ring; larger ones may be fused to a three-membered ring trans
_FLAT = 0.1  # of a product of unit vectors
_EITHER = (Chem.BondDir.UNKNOWN, Chem.BondDir.EITHERDOUBLE)


def marks_from_coordinates(molecule: Chem.Mol) -> None:
    """Replace the marks of centres and double bonds by those of the coordinates, in place."""
    _forget_either(molecule)
    with rdBase.BlockLogs():
        Chem.AssignAtomChiralTagsFromStructure(molecule, replaceExistingTags=True)
        for atom in molecule.GetAtoms():
            if is_pyramid(atom):
                atom.SetChiralTag(_sense(atom))
        Chem.DetectBondStereochemistry(molecule)
        # Which marks mean something: those of like neighbours are taken away again.
        Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)


def _forget_either(molecule: Chem.Mol) -> None:
    """Take away marks for either configuration, wavy and crossed bonds: RDKit reads none there."""
    for bond in molecule.GetBonds():
        bond.ClearProp("_UnknownStereo")
        if bond.GetStereo() == Chem.BondStereo.STEREOANY:
            bond.SetStereo(Chem.BondStereo.STEREONONE)
        if bond.GetBondDir() in _EITHER:
            bond.SetBondDir(Chem.BondDir.NONE)


def is_pyramid(atom: Chem.Atom) -> bool:
    """Whether an atom is phosphorus or arsenic with three single bonds and a lone pair."""
    if atom.GetAtomicNum() not in _PYRAMIDAL or atom.GetNumImplicitHs() or atom.GetFormalCharge():
        return False
    kinds = [bond.GetBondType() for bond in atom.GetBonds()]
    is_sp3 = atom.GetHybridization() == Chem.HybridizationType.SP3
    return is_sp3 and kinds == [Chem.BondType.SINGLE] * 3


def is_held_nitrogen(atom: Chem.Atom) -> bool:
    """Whether an atom is nitrogen of a three-membered ring that does not turn over.

    That of an aziridine does, within a second. Beside nitrogen, oxygen or a halogen it takes 25
    kcal/mol and more (A. Rauk, L. C. Allen and K. Mislow, Angew. Chem. Int. Ed. 9 (1970) 400), but
    for acyl groups; and where a small ring is fused to it, that would have to become trans.
    """
    kinds = [bond.GetBondType() for bond in atom.GetBonds()]
    is_amine = atom.GetAtomicNum() == _NITROGEN and kinds == [Chem.BondType.SINGLE] * 3
    if not (is_amine and atom.IsInRingSize(3)):
        return False
    rings = atom.GetOwningMol().GetRingInfo().AtomRingSizes(atom.GetIdx())
    if len(rings) > 1:
        return sorted(rings)[1] <= _LARGEST_CIS
    neighbours = atom.GetNeighbors()
    is_acyl = any(
        bond.GetBondType() == Chem.BondType.DOUBLE
        for other in neighbours
        for bond in other.GetBonds()
    )
    return not is_acyl and any(other.GetAtomicNum() in _HOLDING for other in neighbours)


def _sense(atom: Chem.Atom) -> Chem.ChiralType:
    """Return the mark of a pyramid: neighbours in the order of its bonds, seen from the first."""
    points = atom.GetOwningMol().GetConformer().GetPositions()
    arms = points[[bond.GetOtherAtomIdx(atom.GetIdx()) for bond in atom.GetBonds()]]
    arms = arms - points[atom.GetIdx()]
    lengths = np.linalg.norm(arms, axis=1, keepdims=True)
    volume = np.linalg.det(arms / lengths.clip(1e-12))
    if abs(volume) < _FLAT:
        return Chem.ChiralType.CHI_UNSPECIFIED
    counter_clockwise = Chem.ChiralType.CHI_TETRAHEDRAL_CCW
    return counter_clockwise if volume > 0 else Chem.ChiralType.CHI_TETRAHEDRAL_CW
