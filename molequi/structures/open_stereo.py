"""Stereocentres and double bonds that a molecule's marks leave open, and what became of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from typing import Any, NamedTuple

import ase
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler, rdDistGeom

from molequi.structures.cip import read_stereo
from molequi.structures.cumulenes import Row, double_bond_rows, stereo_rows

_MOST_STEPS = 1_000_000  # of ranking; RDKit's own default is no limit
_SHOWN = 6
_NITROGEN = re.compile(r"N(\d+)( [RSrs])?")
# Embeddings show whether a cage has more than one configuration: of two, a dozen have both.
_EMBEDDINGS, _FEWEST, _MOST_TRIES = 12, 8, 20
# Centres of other shapes, and of how many ligands one may differ without a second configuration.
_OTHER_SHAPES = {
    Chem.StereoType.Atom_SquarePlanar: 4,
    Chem.StereoType.Atom_TrigonalBipyramidal: None,
    Chem.StereoType.Atom_Octahedral: 6,
}


class OpenStereo(NamedTuple):
    """What a molecule leaves open.

    rows: of double bonds, as in an allene. elements: RDKit's `StereoInfo` of each other centre or
    double bond of either configuration. mixed: that of each centre which is marked, but in a group
    of enhanced stereochemistry, `|&1:1|` for both hands at once and `|o1:1|` for one of them.
    """

    rows: list[Row]
    elements: list[Any]
    mixed: list[Any]

    @property
    def is_random(self) -> bool:
        """Whether an embedding takes any configuration of something."""
        return bool(self.rows or self.elements)

    @property
    def is_any(self) -> bool:
        """Whether anything is left open."""
        return self.is_random or bool(self.mixed)


def open_elements(molecule: Chem.Mol) -> OpenStereo:
    """Find what the marks of a molecule leave open; its coordinates play no part."""
    found = list(Chem.FindPotentialStereo(molecule))
    inside = {atom for row in double_bond_rows(molecule) for atom in row}
    grouped = _grouped(molecule)
    unmarked = [
        one
        for one in found
        if _is_unmarked(one)
        and not inside >= _ends(molecule, one)
        and not _has_equal_ligands(molecule, one)
    ]
    return OpenStereo(
        stereo_rows(molecule),
        _without_fixed(molecule, unmarked),
        [one for one in found if _is_marked_centre(one) and one.centeredOn in grouped],
    )


def _without_fixed(molecule: Chem.Mol, unmarked: list[Any]) -> list[Any]:
    """Leave out bridgeheads that their cage fixes: of an adamantane there is only one.

    Those of a system of rings are fixed where all embeddings of the molecule have the same there.
    """
    centres = {one.centeredOn for one in unmarked if _is_centre(one)}
    cages = _cages(molecule, centres)
    if not cages:
        return unmarked
    copy = Chem.AddHs(molecule)
    settings: Any = rdDistGeom.ETKDGv3()  # RDKit's stubs give it other types than it has
    settings.randomSeed, settings.maxIterations = 0, _MOST_TRIES
    settings.enableSequentialRandomSeeds = True
    with rdBase.BlockLogs():
        conformers = list(rdDistGeom.EmbedMultipleConfs(copy, _EMBEDDINGS, settings))
    if len(conformers) < _FEWEST:
        return unmarked
    fixed = {
        atom
        for cage in cages
        if len({_smiles_of(copy, conformer, centres - cage) for conformer in conformers}) == 1
        for atom in cage
    }
    return [one for one in unmarked if not (_is_centre(one) and one.centeredOn in fixed)]


def _cages(molecule: Chem.Mol, centres: set[int]) -> list[set[int]]:
    """Return those of the centres in which rings meet, by the system of rings that they are in."""
    systems: list[set[int]] = []
    for ring in map(set, molecule.GetRingInfo().AtomRings()):
        joined = [system for system in systems if system & ring]
        systems = [system for system in systems if not system & ring]
        systems.append(ring.union(*joined))
    bridgeheads = {
        number
        for number in centres
        if sum(bond.IsInRing() for bond in molecule.GetAtomWithIdx(number).GetBonds()) > 2
    }
    return [cage for system in systems if (cage := system & bridgeheads)]


def _smiles_of(molecule: Chem.Mol, conformer: int, without: set[int]) -> str:
    """Return the SMILES of a conformer with its configurations, but those of some centres."""
    copy = Chem.Mol(molecule, confId=conformer)
    Chem.AssignStereochemistryFrom3D(copy)
    for number in without:
        copy.GetAtomWithIdx(number).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    Chem.AssignStereochemistry(copy, cleanIt=True, force=True)
    return str(Chem.MolToSmiles(Chem.RemoveHs(copy)))


def _is_centre(element: Any) -> bool:
    return bool(element.type == Chem.StereoType.Atom_Tetrahedral)


def _has_equal_ligands(molecule: Chem.Mol, element: Any) -> bool:
    """Tell whether a centre of another shape than a tetrahedron has one configuration alone.

    RDKit counts every atom with so many ligands, such as that of SF6.
    """
    if element.type not in _OTHER_SHAPES:
        return False
    ranks = list(Chem.CanonicalRankAtoms(molecule, breakTies=False))
    atom = molecule.GetAtomWithIdx(element.centeredOn)
    kinds = Counter(ranks[neighbour.GetIdx()] for neighbour in atom.GetNeighbors())
    if atom.GetTotalNumHs():  # those that are no atoms of the molecule
        kinds[-1] = atom.GetTotalNumHs()
    ligands = kinds.total()
    others = ligands - max(kinds.values())
    return others == 0 or (others == 1 and ligands == _OTHER_SHAPES[element.type])


def _is_unmarked(element: Any) -> bool:
    """Tell whether an element has no mark, or that of a drawing for either: wavy or crossed."""
    return bool(element.specified != Chem.StereoSpecified.Specified)


def _is_marked_centre(element: Any) -> bool:
    return _is_centre(element) and bool(element.specified == Chem.StereoSpecified.Specified)


def _grouped(molecule: Chem.Mol) -> set[int]:
    """Return the atoms whose marks stand for both hands, or for an unknown one."""
    return {
        atom.GetIdx()
        for group in molecule.GetStereoGroups()
        if group.GetGroupType() != Chem.StereoGroupType.STEREO_ABSOLUTE
        for atom in group.GetAtoms()
    }


def chosen(molecule: Chem.Mol, conformer: int, left_open: OpenStereo) -> str:
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
    said = ["=".join(_name(copy.GetAtomWithIdx(atom)) for atom in row) for row in left_open.rows]
    said += [_said(copy, one) for one in (*left_open.elements, *left_open.mixed)]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return ", ".join(said[:_SHOWN]) + more


def chosen_for_good(atoms: ase.Atoms, held_nitrogens: Container[int]) -> str:
    """Return what stands in `info["open_stereo"]`; nothing where all of it turns over by itself.

    Nitrogen does, but for `held_nitrogens`.
    """
    said = str(atoms.info.get("open_stereo", ""))
    found = [_NITROGEN.fullmatch(one) for one in said.split(", ") if one]
    is_fixed = any(one is None or int(one[1]) - 1 in held_nitrogens for one in found)
    return said if is_fixed else ""


def _ends(molecule: Chem.Mol, element: Any) -> set[int]:
    """Return the two atoms of a double bond, an atom that is none of another element."""
    if element.type != Chem.StereoType.Bond_Double:
        return {-1}
    bond = molecule.GetBondWithIdx(element.centeredOn)
    return {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}


def _said(molecule: Chem.Mol, element: Any) -> str:
    if element.type == Chem.StereoType.Bond_Double:
        owner = molecule.GetBondWithIdx(element.centeredOn)
        name = f"{_name(owner.GetBeginAtom())}={_name(owner.GetEndAtom())}"
    elif element.type == Chem.StereoType.Atom_Tetrahedral or element.type in _OTHER_SHAPES:
        owner = molecule.GetAtomWithIdx(element.centeredOn)
        name = _name(owner)
    else:
        return "another"
    return f"{name} {owner.GetProp('_CIPCode')}" if owner.HasProp("_CIPCode") else name


def _name(atom: Chem.Atom) -> str:
    return f"{atom.GetSymbol()}{atom.GetIdx() + 1}"
