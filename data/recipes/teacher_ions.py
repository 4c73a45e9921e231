"""Ions of the smallest molecules: a proton less or more at every heavy atom that allows it.

Few lists name more than the common ones, and a network that has met a hundred small ions is wrong
about the next.
"""

from collections.abc import Iterable

import teacher_identity as identity
import teacher_tiny as tiny
from rdkit import Chem
from teacher_molecules import Entry, admit

# Heavy atoms, and atoms, of molecules whose ions are made.
MOST_HEAVY, MOST_ATOMS = 5, 13
TAKES_PROTON = frozenset({"N", "P", "As", "O", "S", "Se"})


def build(
    entries: Iterable[Entry],
    known: Iterable[Entry],
    kept_out: tuple[identity.Reserved, frozenset[identity.Composition]],
) -> list[Entry]:
    """Make the ions (`tiny_ion`) of small neutral molecules, without those of `known`."""
    reserved, ions = kept_out
    seen, found = {identity.constitution(entry.smiles) for entry in known}, []
    for entry in entries:
        if entry.charge or not 2 <= entry.n_atoms <= MOST_ATOMS:
            continue
        for smiles in moved_protons(entry.smiles):
            ion, _ = admit("tiny_ion", smiles, reserved)
            key = identity.constitution(smiles)
            if ion is not None and key not in seen and tiny.composition(ion) not in ions:
                seen.add(key)
                found.append(ion)
    return found


def moved_protons(smiles: str) -> list[str]:
    """Take a proton from each heavy atom that has one, or add one to each of N, P, As, O, S, Se."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1]
    if len(heavy) > MOST_HEAVY:
        return []
    made = []
    for atom in heavy:
        if atom.GetFormalCharge():
            continue
        hydrogens = [a.GetIdx() for a in atom.GetNeighbors() if a.GetAtomicNum() == 1]
        if hydrogens and atom.GetSymbol() != "B":
            anion = Chem.RWMol(mol)
            anion.GetAtomWithIdx(atom.GetIdx()).SetFormalCharge(-1)
            anion.RemoveAtom(hydrogens[0])
            made.append(anion)
        if atom.GetSymbol() in TAKES_PROTON and atom.GetDegree() <= 3:
            cation = Chem.RWMol(mol)
            cation.GetAtomWithIdx(atom.GetIdx()).SetFormalCharge(1)
            proton = cation.AddAtom(Chem.Atom(1))
            cation.AddBond(atom.GetIdx(), proton, Chem.BondType.SINGLE)
            made.append(cation)
    return [name for ion in made if (name := name_of(ion)) is not None]


def name_of(mol: Chem.RWMol) -> str | None:
    """Return the SMILES of a closed shell; None of what is none, or no molecule."""
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    if Chem.SanitizeMol(mol, catchErrors=True):
        return None
    smiles = Chem.MolToSmiles(Chem.RemoveHs(mol))
    read = Chem.MolFromSmiles(smiles)
    closed = read is not None and not any(a.GetNumRadicalElectrons() for a in read.GetAtoms())
    return smiles if closed else None
