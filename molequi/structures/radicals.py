"""Unpaired electrons of what a SMILES states by bonds alone."""

from __future__ import annotations

from collections.abc import Iterable

from rdkit import Chem

# Groups 3 to 11: what they leave unpaired is no matter of free valences.
_TRANSITION = frozenset((*range(21, 30), *range(39, 48), *range(57, 80), *range(89, 112)))
_SHELL = 8  # electrons of ns and np


def unpaired_of_smiles(molecule: Chem.Mol) -> int | None:
    """Return the unpaired electrons of a molecule, all spins parallel; None where bonds do not say.

    Free valences are unpaired, but in an atom without neighbours electrons pair in its s orbital:
    carbon has two unpaired, magnesium none (Hund's rule). Metals of groups 3 to 11 are not told.
    """
    atoms = list(molecule.GetAtoms())
    if any(atom.GetAtomicNum() in _TRANSITION for atom in atoms):
        return None
    return sum(_unpaired(atom) for atom in atoms)


def _unpaired(atom: Chem.Atom) -> int:
    valence = Chem.GetPeriodicTable().GetNOuterElecs(atom.GetAtomicNum()) - atom.GetFormalCharge()
    if atom.GetTotalDegree() or not 0 <= valence <= _SHELL:
        return int(atom.GetNumRadicalElectrons())
    if valence <= 2:
        return valence % 2
    return min(valence - 2, _SHELL - valence)


def metals_with_open_shells(numbers: Iterable[int]) -> str:
    """Name the elements of groups 3 to 11, whose spin no bonds tell, or nothing."""
    found = sorted(_TRANSITION.intersection(map(int, numbers)))
    return ", ".join(Chem.GetPeriodicTable().GetElementSymbol(number) for number in found)
