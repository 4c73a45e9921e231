"""Rows of two or more double bonds, such as allenes, and whether their ends have a configuration.

The planes of both ends stand upright on each other where the double bonds are even in number, so
that the row may be handed; where they are odd all lies in one plane, and the ends are cis or trans.
RDKit has marks and labels for neither.
"""

from __future__ import annotations

from rdkit import Chem

_DOUBLE = Chem.BondType.DOUBLE
Row = tuple[int, ...]  # atoms, from one end to the other


def double_bond_rows(molecule: Chem.Mol) -> list[Row]:
    """Return the atoms along each row of two or more double bonds, both ends among them."""
    rows = []
    for first in molecule.GetAtoms():
        for second in first.GetNeighbors():
            if _is_middle(first) or not _is_middle(second):
                continue
            row = [first.GetIdx(), second.GetIdx()]
            while _is_middle(molecule.GetAtomWithIdx(row[-1])):
                row.append(_next(molecule.GetAtomWithIdx(row[-1]), row[-2]))
            if row[0] < row[-1]:
                rows.append(tuple(row))
    return rows


def neighbours_of_end(molecule: Chem.Mol, end: int, inner: int) -> list[int]:
    """Return the neighbours of the end of a row, without the one inside it, in ascending order."""
    neighbours = molecule.GetAtomWithIdx(end).GetNeighbors()
    return sorted(other.GetIdx() for other in neighbours if other.GetIdx() != inner)


def stereo_rows(molecule: Chem.Mol) -> list[Row]:
    """Return the rows both of whose ends carry two different neighbours.

    An end with a lone pair, as that of a carbodiimide, turns over by itself and has none.
    """
    rows = double_bond_rows(molecule)
    if not rows:
        return []
    ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=False))
    return [
        row
        for row in rows
        if _differ(molecule, row[0], row[1], ranks) and _differ(molecule, row[-1], row[-2], ranks)
    ]


def handed_rows(molecule: Chem.Mol) -> list[Row]:
    """Return the rows of an even number of double bonds that may have a hand."""
    return [row for row in stereo_rows(molecule) if len(row) % 2]


def _differ(molecule: Chem.Mol, end: int, inner: int, ranks: list[int]) -> bool:
    """Whether an end carries two neighbours, and these are not alike; hydrogens may be implicit."""
    found = {ranks[other] for other in neighbours_of_end(molecule, end, inner)}
    n_hydrogens = molecule.GetAtomWithIdx(end).GetTotalNumHs()
    return len(found) == 2 or (len(found) == 1 and n_hydrogens == 1)


def _is_middle(atom: Chem.Atom) -> bool:
    return [bond.GetBondType() for bond in atom.GetBonds()] == [_DOUBLE, _DOUBLE]


def _next(atom: Chem.Atom, last: int) -> int:
    first, second = (other.GetIdx() for other in atom.GetNeighbors())
    return int(second if first == last else first)
