"""CIP labels of RDKit molecules, mirror images, and what stays the same under them.

Labels come from RDKit's new labeler (`rdCIPLabeler`). R, S and M, P change places in the mirror;
the pseudo-asymmetric r, s and m, p do not. A stereocentre needs no chiral molecule: meso compounds
have R and S centres and are their own mirror images. What has no label here although it may be
chiral: allenes and other chains of double bonds, spiro and planar chirality, helices, and
conformers. An axis (biaryls, anilides) is labelled where the input marks it, by a wedge in a
molfile, or where its two atoms are named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler

from molequi.errors import UserError
from molequi.structures.cumulenes import handed_rows
from molequi.structures.stereo_marks import marks_from_coordinates

Axis = tuple[int, int]
# About a second of ranking; what needs more is a cage whose branches never differ.
_MAX_COMPARISONS = 1_250_000
# Clockwise first; older releases of RDKit, which know none, still label everything else.
_ATROPISOMERS = tuple(
    kind
    for name in ("STEREOATROPCW", "STEREOATROPCCW")
    if (kind := Chem.BondStereo.names.get(name)) is not None
)
# The sine of a torsion, times those of its angles, below which ends are flat on each other.
_PLANE = 1e-3
_SIGNS = {"R": 1, "S": -1, "P": 1, "M": -1}


@dataclasses.dataclass(frozen=True)
class StereoLabels:
    """The labels of one molecule of N atoms.

    atoms: R, S, r, s or an empty text for each atom. axes: the two atoms of an axis -> M, P, m or
    p.
    kind: chiral, meso (its own mirror image in spite of R and S), achiral, or unknown (M and P axes
    in equal number, an allene, or a hand that only coordinates show).
    """

    atoms: tuple[str, ...]
    axes: Mapping[Axis, str] = dataclasses.field(default_factory=dict)
    kind: str = "achiral"

    @property
    def signs(self) -> np.ndarray:
        """Handedness by atom: (N,), 1 for R, -1 for S, 0 elsewhere.

        R and s count as 0, for they do not change in the mirror.
        """
        return np.array([_SIGNS.get(label, 0) for label in self.atoms], dtype=np.int64)

    @property
    def handedness(self) -> np.ndarray:
        """The property `handedness`: (N,), 1 for R, 0 for S, NaN (not a target) elsewhere."""
        return _yes_no(self.signs)

    @property
    def axial_handedness(self) -> np.ndarray:
        """The property `axial_handedness`: (N,), 1 for P, 0 for M at both ends of an axis.

        NaN elsewhere, and where two axes of other sense meet.
        """
        total, known = np.zeros(len(self.atoms)), np.zeros(len(self.atoms), dtype=np.int64)
        for axis, label in self.axes.items():
            total[list(axis)] += _SIGNS.get(label, 0)
            known[list(axis)] += 1
        return _yes_no(np.where(np.abs(total) == known, np.sign(total), 0))


def label_molecule(molecule: Chem.Mol) -> StereoLabels:
    """Return the CIP labels that the stereo marks of a molecule give; its coordinates play no part.

    Raises UserError where the ranking does not end.
    """
    copy = Chem.Mol(molecule)
    for atom in copy.GetAtoms():
        atom.ClearProp("_CIPCode")
    for bond in copy.GetBonds():
        bond.ClearProp("_CIPCode")
    _assign(copy)
    atoms = tuple(
        atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else "" for atom in copy.GetAtoms()
    )
    axes = {
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()): bond.GetProp("_CIPCode")
        for bond in _marked_axes(copy)
        if bond.HasProp("_CIPCode")
    }
    return StereoLabels(atoms, axes, _kind(copy, atoms, tuple(axes.values())))


def axis_label(molecule: Chem.Mol, axis: Axis) -> str:
    """Return M, P, m or p of the single bond between two planar atoms as the coordinates have it.

    An empty text means that the two substituents of an end rank alike, or that all is flat. Raises
    UserError where the atoms are no such axis.
    """
    copy = Chem.Mol(molecule)
    bond = _mark_axis(copy, axis)
    _assign(copy, bonds=[bond])
    found = copy.GetBondWithIdx(bond)
    return found.GetProp("_CIPCode") if found.HasProp("_CIPCode") else ""


def read_stereo(molecule: Chem.Mol) -> Chem.Mol:
    """Return a copy whose stereo marks are those of its coordinates.

    Axes are among them where they were marked before.
    """
    copy = Chem.Mol(molecule)
    axes = marked_axes(copy)
    marks_from_coordinates(copy)
    for axis in axes:
        _mark_axis(copy, axis)
    return copy


def reflected(molecule: Chem.Mol) -> Chem.Mol:
    """Return the mirror image: every conformer reflected in the plane x = 0.

    The stereo marks are read off the new coordinates.
    """
    copy = Chem.Mol(molecule)
    for conformer in copy.GetConformers():
        conformer.SetPositions(conformer.GetPositions() * [-1.0, 1.0, 1.0])
    return read_stereo(copy)


def opposite(molecule: Chem.Mol) -> Chem.Mol:
    """Return a copy with every tetrahedral mark and every marked axis inverted.

    Coordinates stay.
    """
    copy = Chem.Mol(molecule)
    for atom in copy.GetAtoms():
        atom.InvertChirality()
    for bond in _marked_axes(copy):
        bond.SetStereo(_ATROPISOMERS[1 - _ATROPISOMERS.index(bond.GetStereo())])
    return copy


def same_stereoisomer(first: Chem.Mol, second: Chem.Mol) -> bool:
    """Tell whether two molecules are the same.

    Marks of centres and double bonds count, axes do not.
    """
    # The canonical SMILES of symmetric cages may differ by their spelling alone; a match of all
    # atoms decides.
    a, b = Chem.RemoveHs(first), Chem.RemoveHs(second)
    if Chem.MolToSmiles(a) == Chem.MolToSmiles(b):
        return True
    return (
        a.GetNumAtoms() == b.GetNumAtoms()
        and constitution_of(a) == constitution_of(b)
        and a.HasSubstructMatch(b, useChirality=True)
    )


def constitution_of(molecule: Chem.Mol | str) -> str:
    """Return the canonical SMILES without stereo marks.

    The key that both enantiomers, all diastereomers and all conformers share.

    Raises UserError for a SMILES that cannot be read.
    """
    if isinstance(molecule, str):
        with rdBase.BlockLogs():
            parsed = Chem.MolFromSmiles(molecule)
        if parsed is None or not molecule.strip():
            raise UserError(
                f"SMILES {molecule!r} cannot be read; check brackets, ring closures and valences"
            )
        molecule = parsed
    # Marks first: a hydrogen that carries the mark of a double bond would stay.
    copy = Chem.Mol(molecule)
    Chem.RemoveStereochemistry(copy)
    with rdBase.BlockLogs():
        return Chem.MolToSmiles(Chem.RemoveHs(copy))


def marked_axes(molecule: Chem.Mol) -> list[Axis]:
    """Return the two atoms of each axis that is marked."""
    return [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in _marked_axes(molecule)]


def _assign(molecule: Chem.Mol, bonds: Sequence[int] | None = None) -> None:
    try:
        with rdBase.BlockLogs():
            if bonds is None:
                rdCIPLabeler.AssignCIPLabels(molecule, maxRecursiveIterations=_MAX_COMPARISONS)
            else:
                rdCIPLabeler.AssignCIPLabels(
                    molecule,
                    atomsToLabel=[],
                    bondsToLabel=bonds,
                    maxRecursiveIterations=_MAX_COMPARISONS,
                )
    except RuntimeError as error:
        raise UserError(
            f"CIP labels of {Chem.MolToSmiles(molecule)} cannot be found "
            f"({' '.join(str(error).split())[:120]})"
        ) from error


def _mark_axis(molecule: Chem.Mol, axis: Axis) -> int:
    """Mark a bond as an axis of the sense its coordinates have, none if flat; return its number."""
    bond = _axis_bond(molecule, axis)
    first, second = bond.GetBeginAtom(), bond.GetEndAtom()
    left, right = _lowest_beside(first, second), _lowest_beside(second, first)
    points = molecule.GetConformer().GetPositions()[[left, first.GetIdx(), second.GetIdx(), right]]
    steps = np.diff(points, axis=0)
    # The triple product has the sign of the torsion; RDKit calls a positive one clockwise.
    turn = np.linalg.det(steps / np.linalg.norm(steps, axis=1, keepdims=True).clip(1e-12))
    if abs(turn) > _PLANE:
        bond.SetStereoAtoms(left, right)
        bond.SetStereo(_ATROPISOMERS[0] if turn > 0 else _ATROPISOMERS[1])
    return bond.GetIdx()


def _axis_bond(molecule: Chem.Mol, axis: Axis) -> Chem.Bond:
    """Return the single bond between two planar atoms. Raises UserError where there is none."""
    bond = molecule.GetBondBetweenAtoms(*axis)
    planar = all(
        atom.GetHybridization() == Chem.HybridizationType.SP2 and atom.GetDegree() > 1
        for atom in map(molecule.GetAtomWithIdx, axis)
    )
    if bond is None or bond.GetBondType() != Chem.BondType.SINGLE or not planar:
        raise UserError(
            f"atoms {axis[0]} and {axis[1]} are no axis: M and P belong to a single bond between "
            "two planar (sp2) atoms"
        )
    if not _ATROPISOMERS:
        raise UserError(f"M and P of an axis need a newer RDKit; {rdBase.rdkitVersion} has none")
    return bond


def _lowest_beside(atom: Chem.Atom, other: Chem.Atom) -> int:
    """Return the neighbour of an atom with the lowest number, the other end left out."""
    return min(one.GetIdx() for one in atom.GetNeighbors() if one.GetIdx() != other.GetIdx())


def _marked_axes(molecule: Chem.Mol) -> list[Chem.Bond]:
    return [bond for bond in molecule.GetBonds() if bond.GetStereo() in _ATROPISOMERS]


def _kind(molecule: Chem.Mol, atoms: Sequence[str], axes: Sequence[str]) -> str:
    labels = [*atoms, *axes]
    if any(
        labels.count(first) != labels.count(second) for first, second in (("R", "S"), ("M", "P"))
    ):
        return "chiral"
    if not same_stereoisomer(molecule, opposite(molecule)):
        return "chiral"
    if any(label in {"M", "P"} for label in axes) or handed_rows(molecule):
        return "unknown"
    return "meso" if any(label in {"R", "S"} for label in atoms) else "achiral"


def _yes_no(signs: np.ndarray) -> np.ndarray:
    return np.where(signs == 0, np.nan, (signs + 1) / 2)
