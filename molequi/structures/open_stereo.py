"""Stereocentres and double bonds that a molecule's marks leave open, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
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

    Atoms are counted from 1, in their order in the input. Of double bonds in a row, as in an
    allene, the whole row is named, C2=C3=C4: the configuration is that of its ends, and has no
    label here.
    """
    copy = read_stereo(Chem.Mol(molecule, confId=conformer))
    with rdBase.BlockLogs():
        try:
            rdCIPLabeler.AssignCIPLabels(copy, maxRecursiveIterations=_MOST_STEPS)
        except RuntimeError:  # the ranking does not end: the elements are named without labels
            pass
    chains = _chains(copy, elements)
    held = {atom for chain in chains for atom in chain}
    said = ["=".join(_name(copy.GetAtomWithIdx(atom)) for atom in chain) for chain in chains]
    said += [
        _said(copy, one)
        for one in elements
        if not (ends := _ends(copy, one)) or not held.issuperset(ends)
    ]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return ", ".join(said[:_SHOWN]) + more


def _chains(molecule: Chem.Mol, elements: list[Any]) -> list[list[int]]:
    """Return the atoms along each row of two or more double bonds among the elements."""
    partners: dict[int, list[int]] = {}
    for first, last in filter(None, (_ends(molecule, one) for one in elements)):
        partners.setdefault(first, []).append(last)
        partners.setdefault(last, []).append(first)
    ends = [atom for atom, found in partners.items() if len(found) == 1]
    rows = [_row(atom, partners) for atom in ends]
    return [row for row in rows if len(row) > 2 and row[0] < row[-1]]


def _row(atom: int, partners: Mapping[int, list[int]]) -> list[int]:
    """Go from one end of a row to the other."""
    row = [atom]
    while further := [other for other in partners[row[-1]] if other not in row]:
        row.append(further[0])
    return row


def _ends(molecule: Chem.Mol, element: Any) -> tuple[int, ...]:
    """Return the two atoms of a double bond, nothing of another element."""
    if element.type != Chem.StereoType.Bond_Double:
        return ()
    bond = molecule.GetBondWithIdx(element.centeredOn)
    return bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()


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
