"""RDKit molecules and SMILES to ASE atoms.

Conformers by ETKDGv3 and MMFF94, formal charges kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import ase
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

from molequi.errors import UserError

_MAX_ITERATIONS = 2000


def atoms_from_smiles(smiles: str, seed: int = 0) -> ase.Atoms:
    """Make one conformer of a SMILES by ETKDGv3 and MMFF94; hydrogens are added.

    The method and seed stand in `info["geometry"]`. Raises UserError for a SMILES that cannot be
    read or embedded.
    """
    return conformers_from_smiles(smiles, 1, seed)[0]


def conformers_from_smiles(smiles: str, n_conformers: int, seed: int = 0) -> list[ase.Atoms]:
    """Make `n_conformers` conformers of a SMILES; see `atoms_from_smiles`."""
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles.strip())
    if molecule is None or not smiles.strip():
        raise UserError(
            f"SMILES {smiles.strip()!r} cannot be read; check brackets, ring closures and valences"
        )
    conformers = embed(
        molecule, n_conformers, seed, f"SMILES {smiles.strip()!r}", {"smiles": smiles.strip()}
    )
    lost = marked_allenes(smiles)
    for atoms in conformers if lost else ():
        atoms.info["geometry"] += (
            f"; the mark @ of the allene at atom {lost[0]} is not understood: either enantiomer"
        )
    return conformers


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


def embed(
    molecule: Chem.Mol, n_conformers: int, seed: int, what: str, info: dict[str, object]
) -> list[ase.Atoms]:
    """Place the atoms of a molecule in space; `what` names it in messages."""
    placed, method = place(molecule, n_conformers, seed, what)
    note = {**info, "geometry": f"ETKDGv3 + {method}, seed {seed}"}
    return [
        atoms_from_molecule(placed, conformer.GetId(), note) for conformer in placed.GetConformers()
    ]


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
    Raises UserError, naming `what`, where it cannot be placed.
    """
    molecule = Chem.AddHs(molecule)
    if any(atom.GetAtomicNum() == 0 for atom in molecule.GetAtoms()):
        raise UserError(f"{what} holds the wildcard *; name an element in its place")
    # RDKit's stubs give its settings other types than they have.
    settings: Any = rdDistGeom.ETKDGv3()
    settings.randomSeed = seed
    settings.maxIterations = max_attempts
    # Otherwise conformer i has the seed (i + 1) * seed, and with seed 0 all conformers are the
    # same.
    settings.enableSequentialRandomSeeds = True
    with rdBase.BlockLogs():
        conformers = list(rdDistGeom.EmbedMultipleConfs(molecule, n_conformers, settings))
        if len(conformers) < n_conformers:
            # Strained cages need random starting coordinates instead of those of the distance
            # matrix.
            settings.useRandomCoords = True
            conformers = list(rdDistGeom.EmbedMultipleConfs(molecule, n_conformers, settings))
        if not conformers:
            raise UserError(
                f"{what} could not be placed in space (ETKDGv3, seed {seed}); give coordinates in "
                "an XYZ or SDF file"
            )
        return Placed(molecule, _relax(molecule))


def atoms_from_molecule(
    molecule: Chem.Mol, conformer: int = -1, info: dict[str, object] | None = None
) -> ase.Atoms:
    """Copy one conformer of a molecule that has all its hydrogens.

    `info` gets the formal charge, radicals and the given notes.
    """
    atoms = ase.Atoms(
        [atom.GetAtomicNum() for atom in molecule.GetAtoms()],
        molecule.GetConformer(conformer).GetPositions(),
    )
    atoms.info["formal_charge"] = Chem.GetFormalCharge(molecule)
    n_unpaired = sum(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())
    if n_unpaired:
        atoms.info["spin_multiplicity"] = 1 + n_unpaired
    atoms.info.update(info or {})
    return atoms


def read_sdf(handle: IO[bytes], *, seed: int = 0) -> Iterator[ase.Atoms | str]:
    """Read the records of an SDF with their data fields in `info`.

    A damaged record comes as its error text.

    Missing hydrogens are added, at their places for a record in space, with a new conformer for a
    flat drawing; `info["geometry"]` says so.
    """
    for index, molecule in enumerate(sdf_molecules(handle)):
        if molecule is None:
            yield f"record {index + 1} cannot be read as an SDF molecule"
            continue
        try:
            yield _from_record(molecule, index, seed)
        except UserError as error:
            yield str(error)


def sdf_molecules(handle: IO[bytes]) -> Iterator[Chem.Mol | None]:
    """Yield the records of an SDF as they stand there, None for a damaged one.

    What reading the handle raises is raised here.
    """
    with rdBase.BlockLogs():
        supplier = Chem.ForwardSDMolSupplier(handle, sanitize=False, removeHs=False)
        try:
            yield from supplier
        except SystemError as error:
            # RDKit's wrapper covers the error of a handle, such as the early end of a compressed
            # file.
            raise error.__cause__ or error from None


def _from_record(molecule: Chem.Mol, index: int, seed: int) -> ase.Atoms:
    info: dict[str, object] = dict(molecule.GetPropsAsDict())
    name = molecule.GetProp("_Name").strip() if molecule.HasProp("_Name") else ""
    if name:
        info["name"] = name
    if not molecule.GetNumAtoms():
        raise UserError(f"record {index + 1} has no atoms")
    try:
        Chem.SanitizeMol(molecule)
    except (Chem.MolSanitizeException, ValueError) as error:
        # Coordinates suffice where all hydrogens are there; without valences nobody can tell what
        # is missing.
        if not any(atom.GetAtomicNum() == 1 for atom in molecule.GetAtoms()):
            raise UserError(
                f"record {index + 1}: {' '.join(str(error).split())}; hydrogens cannot be added"
            ) from error
        return atoms_from_molecule(molecule, info=info)
    if not sum(atom.GetTotalNumHs() for atom in molecule.GetAtoms()):
        return atoms_from_molecule(molecule, info=info)
    if molecule.GetConformer().Is3D():
        return atoms_from_molecule(
            Chem.AddHs(molecule, addCoords=True),
            info={**info, "geometry": "hydrogens added to the file's coordinates"},
        )
    return embed(molecule, 1, seed, f"record {index + 1}", info)[0]


def _relax(molecule: Chem.Mol) -> str:
    """Relax all conformers and name the force field."""
    if rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule):
        results, method = (
            rdForceFieldHelpers.MMFFOptimizeMoleculeConfs(
                molecule, maxIters=_MAX_ITERATIONS, mmffVariant="MMFF94"
            ),
            "MMFF94",
        )
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(molecule):
        results, method = (
            rdForceFieldHelpers.UFFOptimizeMoleculeConfs(molecule, maxIters=_MAX_ITERATIONS),
            "UFF (MMFF94 has no parameters)",
        )
    else:
        return "no relaxation (no force field has parameters)"
    return method if all(flag == 0 for flag, _ in results) else f"{method} (not converged)"
