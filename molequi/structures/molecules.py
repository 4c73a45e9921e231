"""RDKit molecules and SMILES to ASE atoms.

Conformers by ETKDGv3 and MMFF94, formal charges kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import ase
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom

from molequi.errors import UserError
from molequi.runtime.gate import reason
from molequi.runtime.whole_numbers import LARGEST_SEED, check_whole
from molequi.structures.fragments import GAP, SHORTEST_CONTACT, closest, in_a_row
from molequi.structures.open_stereo import chosen, open_elements
from molequi.structures.polyhedra import bounds, has_hand
from molequi.structures.radicals import unpaired_of_smiles
from molequi.structures.relaxing import relax
from molequi.structures.symbols import set_isotopes

# Embedding and relaxing take some 10 s of a processor for 300 atoms and rise with the cube of their
# number; nothing stops them meanwhile, not even Ctrl-C.
_MOST_ATOMS = 1000
MOST_CONFORMERS = 10_000
_INCHI = "InChI="
_METHOD = "ETKDG"
_NO_ORDER = (Chem.BondType.UNSPECIFIED, Chem.BondType.OTHER, Chem.BondType.ZERO)
_SHOWN = 60  # characters of a long SMILES


def atoms_from_smiles(smiles: str, seed: int = 0) -> ase.Atoms:
    """Make one conformer of a SMILES or InChI by ETKDGv3 and MMFF94; hydrogens are added.

    The method and seed stand in `info["geometry"]`, the SMILES in `info["smiles"]`. Raises
    UserError for a text that cannot be read or embedded.
    """
    return conformers_from_smiles(smiles, 1, seed)[0]


def conformers_from_smiles(smiles: str, n_conformers: int, seed: int = 0) -> list[ase.Atoms]:
    """Make `n_conformers` conformers of a SMILES; see `atoms_from_smiles`."""
    if not isinstance(smiles, str):  # a missing cell of a table
        raise UserError(f"the SMILES is {smiles!r}, which is no text; write such as CCO")
    if smiles.strip().startswith(_INCHI):
        smiles = _smiles_of_inchi(smiles.strip())
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles.strip())
    if molecule is None or not smiles.strip():
        raise UserError(
            f"SMILES {smiles.strip()!r} cannot be read; check brackets, ring closures and valences"
        )
    conformers = embed(
        molecule, n_conformers, seed, f"SMILES {smiles.strip()!r}", {"smiles": smiles.strip()}
    )
    note = ""
    lost = marked_allenes(smiles)
    if lost:
        note = f"; the mark @ of the allene at atom {lost[0]} is not understood: either enantiomer"
    # RDKit places what they have opposite each other, and either hand of it.
    shaped = [atom.GetIdx() for atom in molecule.GetAtoms() if has_hand(atom)]
    shaped += dropped_marks(smiles)
    if shaped:
        note += f"; the hand of the mark at atom {shaped[0]} is not understood: either"
    unpaired = unpaired_of_smiles(molecule)
    for atoms in conformers:
        atoms.info["geometry"] += note
        note_unpaired(atoms, unpaired)
    return conformers


def _smiles_of_inchi(inchi: str) -> str:
    with rdBase.BlockLogs():
        molecule = Chem.MolFromInchi(inchi)
    if molecule is None:
        raise UserError(f"InChI {inchi!r} cannot be read; check that it is whole")
    return str(Chem.MolToSmiles(molecule))


def smiles_in_one_form(smiles: str) -> str:
    """Return a SMILES that can be read as RDKit writes it, the same for all of a molecule."""
    return str(Chem.MolToSmiles(Chem.MolFromSmiles(smiles)))


def note_unpaired(atoms: ase.Atoms, n_unpaired: int | None) -> None:
    """Write the multiplicity that unpaired electrons with parallel spins have, where any are."""
    if n_unpaired:
        atoms.info["spin_multiplicity"] = 1 + n_unpaired
        atoms.info["multiplicity_source"] = "the radicals of the atoms"
    else:
        atoms.info.pop("spin_multiplicity", None)
        atoms.info.pop("multiplicity_source", None)


def marked_allenes(smiles: str) -> list[int]:
    """Return the middle atoms of allenes that a SMILES marks; RDKit forgets such a mark."""
    if "@" not in smiles:
        return []
    molecule = Chem.MolFromSmiles(smiles.strip(), sanitize=False)
    marked = [
        atom
        for atom in molecule.GetAtoms()
        if atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED and atom.GetDegree() == 2
    ]
    return [
        atom.GetIdx()
        for atom in marked
        if all(bond.GetBondType() == Chem.BondType.DOUBLE for bond in atom.GetBonds())
    ]


def dropped_marks(smiles: str) -> list[int]:
    """Return the centres that a SMILES marks and RDKit leaves open all the same.

    Such are those of 4-alkylidenecyclohexanes, which have a hand together with the double bond.
    """
    if "@" not in smiles:
        return []
    molecule = Chem.MolFromSmiles(smiles.strip())
    marked = Chem.MolFromSmiles(smiles.strip(), sanitize=False)
    if marked.GetNumAtoms() != molecule.GetNumAtoms():  # hydrogens that are written out
        return []
    dropped = [
        one.GetIdx()
        for one, other in zip(marked.GetAtoms(), molecule.GetAtoms(), strict=True)
        if one.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED
        and other.GetChiralTag() == Chem.ChiralType.CHI_UNSPECIFIED
    ]
    left_open = open_elements(molecule).elements if dropped else []
    centres = {one.centeredOn for one in left_open if one.type == Chem.StereoType.Atom_Tetrahedral}
    return [number for number in dropped if number in centres]


def is_made(atoms: ase.Atoms) -> bool:
    """Whether a geometry was made by `embed`, of a SMILES or a drawing, rather than given."""
    return _METHOD in str(atoms.info.get("geometry"))


def is_from_smiles(atoms: ase.Atoms) -> bool:
    """Whether a geometry was made from a SMILES, of which more conformers are made as well."""
    return is_made(atoms) and "smiles" in atoms.info


def embed(
    molecule: Chem.Mol, n_conformers: int, seed: int, what: str, info: dict[str, object]
) -> list[ase.Atoms]:
    """Place the atoms of a molecule in space; `what` names it in messages.

    `info["open_stereo"]` says which configurations the marks leave open, and each conformer's.
    """
    placed, method = place(molecule, n_conformers, seed, what)
    left_open = open_elements(molecule)
    how = "; configurations that are left open are random" if left_open.is_random else ""
    if left_open.mixed:
        how += "; of a mixture (&) or an unknown hand (o) the one that is drawn"
    note = {**info, "geometry": f"{_METHOD}v3 + {method}, seed {seed}{how}"}
    found = []
    for conformer in placed.GetConformers():
        atoms = atoms_from_molecule(placed, conformer.GetId(), note)
        if left_open.is_any:
            atoms.info["open_stereo"] = chosen(placed, conformer.GetId(), left_open)
        found.append(atoms)
    return found


class Placed(NamedTuple):
    """A molecule with its conformers, and the name of the force field that relaxed them."""

    molecule: Chem.Mol
    method: str


def place(
    molecule: Chem.Mol, n_conformers: int, seed: int, what: str, *, max_attempts: int = 0
) -> Placed:
    """Place a molecule with all its hydrogens in space, by ETKDGv3 and a force field.

    max_attempts: embeddings tried for each conformer, in either of two ways; 0 leaves the number to
    RDKit (ten for each atom).
    Raises UserError, naming `what`, where it cannot be placed, or would take hours.
    """
    check_conformers(n_conformers, seed)
    molecule = Chem.AddHs(molecule)
    _refuse_unplaceable(molecule, what)
    settings = _embedding(seed, max_attempts)
    try:
        with rdBase.BlockLogs():
            if len(Chem.GetMolFrags(molecule)) > 1:
                return _place_fragments(molecule, n_conformers, settings, what)
            _embed_whole(molecule, n_conformers, settings, what)
            return Placed(molecule, relax(molecule, settings.randomSeed))
    except (RuntimeError, Chem.MolSanitizeException) as error:  # valences that RDKit cannot use
        raise UserError(f"{what} could not be placed in space ({reason(error)})") from error


def check_conformers(n_conformers: int, seed: int) -> None:
    """Raise UserError for a number of conformers that cannot be made, and for what is no seed."""
    check_whole(n_conformers, "conformers", 1, MOST_CONFORMERS)
    check_whole(seed, "seed", 0, LARGEST_SEED - (n_conformers - 1))  # of the last conformer too


def bond_without_order(molecule: Chem.Mol) -> str:
    """Say which bond of a molecule has no order; nothing where all have one."""
    for bond in molecule.GetBonds():
        if bond.GetBondType() in _NO_ORDER:
            ends = bond.GetBeginAtomIdx() + 1, bond.GetEndAtomIdx() + 1
            return f"the bond of atoms {ends[0]} and {ends[1]} has no order"
    return ""


def _refuse_unplaceable(molecule: Chem.Mol, what: str) -> None:
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise UserError(f"{what} holds the wildcard *; name an element in its place")
    problem = bond_without_order(molecule)
    if problem:
        raise UserError(f"{what} cannot be made into a geometry: {problem}")
    if molecule.GetNumAtoms() > _MOST_ATOMS:
        raise UserError(
            f"{what[:_SHOWN]} has {molecule.GetNumAtoms()} atoms; more than {_MOST_ATOMS:,} are "
            "not placed in space; give coordinates in an XYZ or SDF file"
        )


def _embedding(seed: int, max_attempts: int) -> Any:
    # RDKit's stubs give its settings other types than they have.
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed = int(seed)  # NumPy's integers are none to RDKit
    settings.maxIterations = max_attempts
    # Otherwise conformer i has the seed (i + 1) * seed, and with seed 0 all conformers are the
    # same.
    settings.enableSequentialRandomSeeds = True
    return settings


def _embed_whole(molecule: Chem.Mol, n_conformers: int, settings: Any, what: str) -> None:
    """Give a connected molecule up to so many conformers, at least one."""
    limits = bounds(molecule, settings.randomSeed)
    if limits is not None:
        within = _embedding(settings.randomSeed, settings.maxIterations)
        within.SetBoundsMat(limits)
        if _embedded(molecule, n_conformers, within):
            return
    if not _embedded(molecule, n_conformers, settings):
        raise UserError(
            f"{what} could not be placed in space (ETKDGv3, seed {settings.randomSeed}); give "
            "coordinates in an XYZ or SDF file"
        )


def _embedded(molecule: Chem.Mol, n_conformers: int, settings: Any) -> bool:
    """Give a molecule up to so many conformers; tell whether it has one."""
    settings.useRandomCoords = False
    conformers = list(rdDistGeom.EmbedMultipleConfs(molecule, n_conformers, settings))
    if len(conformers) < n_conformers:
        # Strained cages need random starting coordinates instead of those of the distance
        # matrix.
        settings.useRandomCoords = True
        conformers = list(rdDistGeom.EmbedMultipleConfs(molecule, n_conformers, settings))
    return bool(conformers)


def _place_fragments(molecule: Chem.Mol, n_conformers: int, settings: Any, what: str) -> Placed:
    """Place molecules that are not bonded to each other side by side, then relax them together.

    ETKDG knows no distance between them: embedded as one they end inside each other.
    """
    members = Chem.GetMolFrags(molecule)
    fragments = Chem.GetMolFrags(molecule, asMols=True)
    for fragment in fragments:
        _embed_whole(fragment, n_conformers, settings, what)
    n_common = min(fragment.GetNumConformers() for fragment in fragments)
    molecule.RemoveAllConformers()
    for index in range(n_common):
        places = [list(fragment.GetConformers())[index].GetPositions() for fragment in fragments]
        conformer = Chem.Conformer(molecule.GetNumAtoms())
        conformer.SetPositions(in_a_row(places, members))
        conformer.Set3D(True)
        molecule.AddConformer(conformer, assignId=True)
    relax(molecule, settings.randomSeed)
    apart = [conformer.GetPositions() for conformer in molecule.GetConformers()]
    method = relax(molecule, settings.randomSeed, between_fragments=True)
    how = "relaxed together"
    for conformer, positions in zip(molecule.GetConformers(), apart, strict=True):
        if closest(conformer.GetPositions(), members) < SHORTEST_CONTACT:
            conformer.SetPositions(positions)
            how = "relaxed each alone"
    note = f"{len(members)} separate molecules placed {GAP:g} Å apart and {how}"
    return Placed(molecule, f"{method}; {note}")


def atoms_from_molecule(
    molecule: Chem.Mol, conformer: int = -1, info: dict[str, object] | None = None
) -> ase.Atoms:
    """Copy one conformer of a molecule that has all its hydrogens, with the masses of isotopes.

    `info` gets the formal charge where there are bonds or charges, the radicals' multiplicity with
    all spins parallel, and the given notes.
    """
    atoms = ase.Atoms(
        [atom.GetAtomicNum() for atom in molecule.GetAtoms()],
        molecule.GetConformer(conformer).GetPositions(),
    )
    set_isotopes(atoms, [atom.GetIsotope() for atom in molecule.GetAtoms()])
    if molecule.GetNumBonds() or any(atom.GetFormalCharge() for atom in molecule.GetAtoms()):
        atoms.info["formal_charge"] = Chem.GetFormalCharge(molecule)
    note_unpaired(atoms, sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms()))
    atoms.info.update(info or {})
    return atoms
