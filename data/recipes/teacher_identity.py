"""What counts as the same molecule: signatures, the part of the split, and molecules to keep out.

graph       canonical SMILES of the elements and bonds with hydrogens, every bond single, no
            charges and no stereo marks: the same for all resonance forms and stereoisomers of a
            constitution, and readable off a geometry without bond orders
skeleton    the same without hydrogens: also equal for tautomers and all protonation states
"""

import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import rdDetermineBonds
from scipy.sparse.csgraph import connected_components

RDLogger.DisableLog("rdApp.*")
TRAIN, VALID, TEST = 0, 1, 2
TINY_ATOMS = 3  # molecules of up to so many heavy atoms may always be trained on
LARGE_ATOMS = 10  # heavy atoms from which the skeleton alone tells molecules apart


Composition = tuple[tuple[int, ...], int]  # sorted atomic numbers, total charge


class Identity(NamedTuple):
    """Signatures of one connected molecule and its number of heavy atoms."""

    graph: str
    skeleton: str
    n_heavy: int


class Reserved(NamedTuple):
    """What may not be trained on: graphs, skeletons of large molecules, combinations of graphs."""

    graphs: frozenset[str]
    skeletons: frozenset[str]
    complexes: frozenset[tuple[str, ...]]


def plain_graph(mol: Chem.Mol) -> str:
    """Write the elements and bonds of `mol` as they stand, all bonds single."""
    plain = Chem.RWMol()
    for atom in mol.GetAtoms():
        new = Chem.Atom(atom.GetAtomicNum())
        new.SetNoImplicit(True)
        plain.AddAtom(new)
    for bond in mol.GetBonds():
        plain.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    plain.UpdatePropertyCache(strict=False)
    Chem.FastFindRings(plain)
    return Chem.MolToSmiles(plain, canonical=True)


def identify(mol: Chem.Mol) -> Identity:
    """Return the signatures of a molecule whose hydrogens may be implicit or atoms."""
    full = Chem.AddHs(mol)
    heavy = Chem.RWMol(full)
    heavy.BeginBatchEdit()
    for atom in full.GetAtoms():
        if atom.GetAtomicNum() == 1:
            heavy.RemoveAtom(atom.GetIdx())
    heavy.CommitBatchEdit()
    return Identity(plain_graph(full), plain_graph(heavy), heavy.GetNumAtoms())


def identify_smiles(smiles: str) -> list[Identity]:
    """Return the identity of every fragment of a SMILES; none where RDKit cannot read it."""
    mol = Chem.MolFromSmiles(smiles)
    return [] if mol is None else [identify(part) for part in Chem.GetMolFrags(mol, asMols=True)]


def identify_geometry(numbers: np.ndarray, positions: np.ndarray) -> list[Identity]:
    """Return the identity of every fragment of a geometry (Å); bonds by RDKit's distances."""
    block = "\n".join(
        f"{Chem.GetPeriodicTable().GetElementSymbol(int(z))} {x:.6f} {y:.6f} {w:.6f}"
        for z, (x, y, w) in zip(numbers, positions, strict=True)
    )
    mol = Chem.MolFromXYZBlock(f"{len(numbers)}\n\n{block}\n")
    rdDetermineBonds.DetermineConnectivity(mol)
    parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
    for part in parts:
        for atom in part.GetAtoms():
            atom.SetNoImplicit(True)
        part.UpdatePropertyCache(strict=False)
    return [identify(part) for part in parts]


def constitution(smiles: str) -> str:
    """Return the canonical SMILES without stereo marks, '' where RDKit cannot read it."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return ""
    Chem.RemoveStereochemistry(mol)
    return Chem.MolToSmiles(mol)


def part_of(identity: Identity) -> int:
    """Assign a molecule to train (90 %), valid (5 %) or test (5 %) by the hash of its skeleton.

    Molecules of up to three heavy atoms always train.
    """
    if identity.n_heavy <= TINY_ATOMS:
        return TRAIN
    digest = hashlib.sha256(f"teacher:{identity.skeleton}".encode()).digest()
    fraction = (int.from_bytes(digest[:4], "big") + 0.5) / 2**32
    return VALID if fraction < 0.05 else TEST if fraction < 0.10 else TRAIN


def suite_systems(folder: Path) -> Iterable[dict]:
    """Yield all systems of the reference suites in `folder`."""
    for path in sorted(folder.glob("*.json.gz")):
        content = json.loads(gzip.decompress(path.read_bytes()))
        systems = list(content.get("systems", {}).values())
        for molecule in content.get("molecules", []):
            systems += molecule["conformers"]
        yield from systems


def suite_geometries(folder: Path) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Yield numbers and positions of all systems of the reference suites in `folder`."""
    for system in suite_systems(folder):
        yield np.array(system["numbers"]), np.array(system["positions"], dtype=np.float64)


def composition(numbers: Iterable[int], charge: int) -> Composition:
    """Return what proton transfer and isomerisation leave as it is."""
    return tuple(sorted(int(z) for z in numbers)), charge


def read_ions(suites: Path | None) -> frozenset[Composition]:
    """Collect the compositions of all charged systems of the suites, however small."""
    systems = suite_systems(suites) if suites else ()
    found = (composition(s["numbers"], s.get("charge", 0)) for s in systems)
    return frozenset(c for c in found if c[1])


def holds_ion(z: np.ndarray, bonded: np.ndarray, charge: int, ions: frozenset[Composition]) -> bool:
    """Tell whether a frame of an ion, or one of its connected parts, has one of the compositions.

    bonded (n, n). A part counts as if it bore the sign of the frame, since what is left of a
    deprotonated molecule does.
    """
    if not charge:
        return False
    n_parts, part = connected_components(bonded)
    parts = [z, *(z[part == k] for k in range(n_parts))]
    return any(composition(numbers, q) in ions for numbers in parts for q in {charge, sign(charge)})


def sign(charge: int) -> int:
    """Return 1 or -1."""
    return 1 if charge > 0 else -1


def read_reserved(suites: Path | None, constitutions: Path | None) -> Reserved:
    """Collect what a folder of suites and a file of SMILES, one per line, keep out of training.

    A system of several molecules also reserves their combination, whatever their size.
    """
    found: list[Identity] = []
    complexes = set()
    for numbers, positions in suite_geometries(suites) if suites else ():
        parts = identify_geometry(numbers, positions)
        found += parts
        if len(parts) > 1:
            complexes.add(tuple(sorted(part.graph for part in parts)))
    for line in constitutions.read_text().split() if constitutions else ():
        found += identify_smiles(line)
    return Reserved(
        frozenset(i.graph for i in found if i.n_heavy > TINY_ATOMS),
        frozenset(i.skeleton for i in found if i.n_heavy >= LARGE_ATOMS),
        frozenset(complexes),
    )


def is_reserved(identity: Identity, reserved: Reserved) -> bool:
    """Tell whether a molecule may not be trained on."""
    return identity.graph in reserved.graphs or identity.skeleton in reserved.skeletons
