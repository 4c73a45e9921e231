"""Stereocentres and double bonds that a molecule's marks leave open, and what became of them."""

from __future__ import annotations

from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler

from molequi.structures.cip import read_stereo

_MOST_STEPS = 1_000_000  # of ranking; RDKit's own default is no limit
_SHOWN = 6


def open_elements(molecule: Chem.Mol) -> list[Any]:
    """Return RDKit's `StereoInfo` of each centre or double bond of either configuration."""
    found = Chem.FindPotentialStereo(molecule)
    return [one for one in found if one.specified == Chem.StereoSpecified.Unspecified]


def chosen(molecule: Chem.Mol, conformer: int, elements: list[Any]) -> str:
    """Say which configuration each element has in a conformer: `C2 S, C4=C5 E`.

    Atoms are counted from 1, in their order in the input.
    """
    copy = read_stereo(Chem.Mol(molecule, confId=conformer))
    with rdBase.BlockLogs():
        try:
            rdCIPLabeler.AssignCIPLabels(copy, maxRecursiveIterations=_MOST_STEPS)
        except RuntimeError:  # the ranking does not end: the elements are named without labels
            pass
    said = [_said(copy, one) for one in elements]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return ", ".join(said[:_SHOWN]) + more


def _said(molecule: Chem.Mol, element: Any) -> str:
    if element.type == Chem.StereoType.Bond_Double:
        owner = molecule.GetBondWithIdx(element.centeredOn)
        name = f"{_name(owner.GetBeginAtom())}={_name(owner.GetEndAtom())}"
    elif element.type == Chem.StereoType.Atom_Tetrahedral:
        owner = molecule.GetAtomWithIdx(element.centeredOn)
        name = _name(owner)
    else:
        return "another"
    return f"{name} {owner.GetProp('_CIPCode')}" if owner.HasProp("_CIPCode") else name


def _name(atom: Chem.Atom) -> str:
    return f"{atom.GetSymbol()}{atom.GetIdx() + 1}"
