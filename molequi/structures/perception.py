"""R and S read off a geometry: bonds are given, or found from the distances and the charge."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import ase
import numpy as np
from ase.data import covalent_radii
from rdkit import Chem, rdBase
from rdkit.Chem import rdDetermineBonds

from molequi.errors import UserError
from molequi.structures.atoms import charge_of, multiplicity_of
from molequi.structures.cip import StereoLabels, label_molecule, read_stereo
from molequi.structures.mirror_images import has_allene, is_conformer_of_image
from molequi.structures.stereo_marks import is_held_nitrogen
from molequi.structures.symbols import isotopes_of

# Assignments of bond orders tried before giving up; molecules of QM9 need a few dozen.
_MAX_ASSIGNMENTS = 20_000
# A bond is shorter than so many times the sum of the covalent radii; the shorter limit tells
# strained cages, where others touch.
_BOND_FACTORS = (1.3, 1.2)
# Atoms of a molecule whose bonds are known are farther apart than so many times the sum of their
# radii where they are not bonded, and no farther than so many where they are.
_APART, _TOGETHER = 1.25, 1.3
# RDKit makes P#P of the bond of a diphosphine: more than these for both ends of a multiple bond.
_LOWEST_VALENCES = {15: 3, 16: 2, 33: 3, 34: 2}
_ORDERS = {
    1.0: Chem.BondType.SINGLE,
    1.5: Chem.BondType.AROMATIC,
    2.0: Chem.BondType.DOUBLE,
    3.0: Chem.BondType.TRIPLE,
}


class KnownBonds(NamedTuple):
    """Bonds (first, second, order) and the formal charges of N atoms: (N,), e."""

    bonds: list[tuple[int, int, float]]
    formal_charges: list[int]


@dataclasses.dataclass(frozen=True)
class GeometryLabels:
    """What a geometry says about its handedness.

    labels: of N atoms, or None where there are none to be had. status: `ok`, else why not. smiles:
    with stereo marks, or empty. is_conformer_of_image: see `mirror_images`, None where not known.
    has_allene: one that may be handed, which no label and no SMILES says. held_nitrogens: atoms
    that keep their sense, and have no label either; see `stereo_marks`.
    """

    labels: StereoLabels | None
    status: str = "ok"
    smiles: str = ""
    is_conformer_of_image: bool | None = None
    has_allene: bool = False
    held_nitrogens: tuple[int, ...] = ()

    @property
    def centres(self) -> dict[int, str]:
        """Atom (0-based) -> R, S, r or s."""
        return (
            {}
            if self.labels is None
            else {number: label for number, label in enumerate(self.labels.atoms) if label}
        )


def labels_from_geometry(
    atoms: ase.Atoms,
    *,
    charge: int | None = None,
    bonds: Sequence[tuple[int, int, float]] | None = None,
    formal_charges: Sequence[int] | None = None,
) -> GeometryLabels:
    """Read the CIP label of every stereocentre off the coordinates.

    `status` says why there is none rather than raising.

    charge: e, overrides what the atoms carry. bonds: (first, second, order) with order 1, 1.5, 2 or
    3; without them those of a SMILES that the geometry was made from (`bonds_of_smiles`), else
    RDKit finds bonds and orders from distances and charge, for which every hydrogen must be there.
    formal_charges: (N,), e, with `bonds` where they are not zero. A flat or chiral conformer
    without stereocentre has no labels, and axes none either: see `cip.axis_label`.
    """
    try:
        known = bonds_of_smiles(atoms, charge) if bonds is None else None
        if known is not None:
            bonds, formal_charges = known
        molecule = read_stereo(_molecule(atoms, charge, bonds, formal_charges))
    except UserError as error:
        return GeometryLabels(None, str(error))
    labels, status = None, "ok"
    try:
        labels = label_molecule(molecule)
    except UserError as error:  # the ranking does not end, which the mirror image does not need
        status = str(error)
    return GeometryLabels(
        labels,
        status,
        smiles=Chem.MolToSmiles(Chem.RemoveHs(molecule)) if labels is not None else "",
        is_conformer_of_image=is_conformer_of_image(molecule),
        has_allene=has_allene(molecule),
        held_nitrogens=tuple(
            atom.GetIdx() for atom in molecule.GetAtoms() if is_held_nitrogen(atom)
        ),
    )


def bonds_of_smiles(atoms: ase.Atoms, charge: int | None = None) -> KnownBonds | None:
    """Return the bonds of `info["smiles"]` where a geometry has them, by its distances.

    None too where it has another charge, or its atoms are not those of the SMILES in their order
    with the hydrogens added at the end, as a geometry made from it has them. charge: e, overrides
    what the atoms carry.
    """
    text = str(atoms.info.get("smiles", ""))
    with rdBase.BlockLogs():
        parsed = Chem.MolFromSmiles(text) if text else None
    if parsed is None or atoms.pbc.any():
        return None
    molecule = Chem.AddHs(parsed)
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    if Chem.GetFormalCharge(molecule) != charge_of(atoms, charge) or not _fits(atoms, molecule):
        return None
    return KnownBonds(
        [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble())
            for bond in molecule.GetBonds()
        ],
        [atom.GetFormalCharge() for atom in molecule.GetAtoms()],
    )


def _fits(atoms: ase.Atoms, molecule: Chem.Mol) -> bool:
    """Whether a geometry has the atoms of a molecule and its bonds, there and nowhere else."""
    kinds = {bond.GetBondType() for bond in molecule.GetBonds()}
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    if numbers != atoms.numbers.tolist() or not kinds.issubset(_ORDERS.values()):
        return False
    is_bonded = Chem.GetAdjacencyMatrix(molecule).astype(bool)
    radii = covalent_radii[atoms.numbers]
    lengths = atoms.get_all_distances() / (radii + radii[:, None])
    np.fill_diagonal(lengths, np.inf)
    return bool((lengths[is_bonded] < _TOGETHER).all() and (lengths[~is_bonded] > _APART).all())


def molecule_from_geometry(atoms: ase.Atoms, *, charge: int | None = None) -> Chem.Mol:
    """Return the molecule of a geometry, atoms in its order; see `labels_from_geometry`.

    Raises UserError where bonds cannot be found.
    """
    return _molecule(atoms, charge, None, None)


def _molecule(
    atoms: ase.Atoms,
    charge: int | None,
    bonds: Sequence[tuple[int, int, float]] | None,
    formal_charges: Sequence[int] | None,
) -> Chem.Mol:
    if atoms.pbc.any():
        raise UserError("no labels for a periodic structure: cut the molecule out of it first")
    if not np.isfinite(atoms.positions).all():
        raise UserError("no labels: a coordinate is not finite")
    molecule = _bare(atoms)
    return (
        _found_bonds(molecule, atoms, charge)
        if bonds is None
        else _given_bonds(molecule, bonds, formal_charges)
    )


def _bare(atoms: ase.Atoms) -> Chem.RWMol:
    molecule = Chem.RWMol()
    for number, isotope in zip(atoms.numbers, isotopes_of(atoms), strict=True):
        atom = Chem.Atom(int(number))
        atom.SetIsotope(isotope)  # C[C@@H](O)[2H] has a hand
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(np.ascontiguousarray(atoms.positions, dtype=np.float64))
    conformer.Set3D(True)
    molecule.AddConformer(conformer)
    return molecule


def _found_bonds(molecule: Chem.RWMol, atoms: ase.Atoms, charge: int | None) -> Chem.Mol:
    formula, total = atoms.get_chemical_formula(), charge_of(atoms, charge)
    advice = "give the right charge and all hydrogens, or a SMILES"
    if multiplicity_of(atoms, total) != 1:
        raise UserError(
            f"bonds of {formula} with charge {total} cannot be found: it has unpaired electrons; "
            f"{advice}"
        )
    problem = ""
    for factor in _BOND_FACTORS:
        copy = Chem.RWMol(molecule)
        try:
            with rdBase.BlockLogs():
                rdDetermineBonds.DetermineBonds(
                    copy,
                    charge=total,
                    useVdw=True,
                    covFactor=factor,
                    maxIterations=_MAX_ASSIGNMENTS,
                )
                Chem.SanitizeMol(copy)
        except (ValueError, RuntimeError) as error:
            problem = problem or _brief(error)
            continue
        misread = _misread(copy)
        if not misread:
            return copy.GetMol()
        problem = problem or misread
    raise UserError(f"bonds of {formula} with charge {total} cannot be found ({problem}); {advice}")


def _misread(molecule: Chem.Mol) -> str:
    """Say what is wrong with bonds that were found, if anything is."""
    if any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()):
        return "a valence stays open"
    for bond in molecule.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        if bond.GetBondTypeAsDouble() > 1 and all(
            end.GetTotalValence() > _LOWEST_VALENCES.get(end.GetAtomicNum(), np.inf) for end in ends
        ):
            first, second = (end.GetSymbol() for end in ends)
            return f"the bond {first}-{second} cannot be told from a multiple one"
    return ""


def _given_bonds(
    molecule: Chem.RWMol,
    bonds: Sequence[tuple[int, int, float]],
    formal_charges: Sequence[int] | None,
) -> Chem.Mol:
    n_atoms = molecule.GetNumAtoms()
    for first, second, order in bonds:
        if not (
            0 <= first < n_atoms
            and 0 <= second < n_atoms
            and first != second
            and float(order) in _ORDERS
        ):
            raise UserError(
                f"bond {first}-{second} of order {order} is none: atoms run from 0 to "
                f"{n_atoms - 1}, orders are 1, 1.5, 2 and 3"
            )
        molecule.AddBond(int(first), int(second), _ORDERS[float(order)])
    for atom, value in zip(molecule.GetAtoms(), formal_charges or [0] * n_atoms, strict=True):
        atom.SetFormalCharge(int(value))
    try:
        with rdBase.BlockLogs():
            Chem.SanitizeMol(molecule)
    except ValueError as error:
        raise UserError(
            f"the bonds make no molecule ({_brief(error)}); check orders and formal charges"
        ) from error
    return molecule.GetMol()


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
