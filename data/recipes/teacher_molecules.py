"""The catalogue of the teacher's data set: SMILES by category, with the part each belongs to.

Sources: drug-like molecules of molsets (MIT), drugs of B3DB (CC0), QM9 (CC0), enumeration over
the tables of `teacher_fragments`, peptides, and ions of drugs by rules for acids and bases.
Every list is shuffled by a fixed seed; a molecule is kept once, whatever its stereo marks.
"""

import csv
import gzip
import importlib.util
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import teacher_fragments as tables
import teacher_identity as identity
from rdkit import Chem

LOG = logging.getLogger("teacher")
ELEMENTS = frozenset("H B C N O F Si P S Cl As Se Br I".split())
MOST_ATOMS, LARGEST = 60, 100
N_DRUGS, N_QM9, N_DRUG_IONS, N_PEPTIDES, N_PER_ELEMENT = 24000, 9000, 9000, 5000, 2600

# Where a proton comes on, with how often it is chosen, and where it goes off.
BASES = (
    ("[NX3;H2,H1,H0;+0;!$(N~[#6]=[O,S,N]);!$(N~[S,P,N,O]);!$(N-a);!$(N-C#N)]", 6),
    ("[nX2;+0]", 4),
    ("[NX2;+0;$(N=C)]", 4),
    ("[NX3;H2,H1,H0;$(N-a)]", 1),
    ("[OX1;+0;$(O=[#6])]", 1),
    ("[PX3;+0]", 3),
    ("[OX2;+0;$(O([#6])[#6,#1])]", 0.5),
    ("[SX2;+0;$(S([#6])[#6])]", 0.5),
)
ACIDS = (
    ("[OX2H;$(O[C,S,P]=O)]", 8),
    ("[OX2H;$(Oc)]", 4),
    ("[OX2H;$(O[CX4])]", 1),
    ("[OX2H;$(O[B,Si,N,As])]", 2),
    ("[SX2H,SeX2H]", 4),
    ("[NX3;H1,H2;$(NS(=O)=O)]", 4),
    ("[nH]", 2),
    ("[NX3;H1;$(N(C=O)C=O)]", 4),
    ("[NX3;H1,H2;$(NC=O)]", 0.7),
    ("[CX4;H1,H2,H3;$(CC=O),$(C[N+](=O)[O-]),$(CC#N)]", 0.5),
    ("[CX2H]#[CX2]", 1),
)
BASE_PATTERNS = [(Chem.MolFromSmarts(smarts), weight) for smarts, weight in BASES]
ACID_PATTERNS = [(Chem.MolFromSmarts(smarts), weight) for smarts, weight in ACIDS]


class Entry(NamedTuple):
    """One molecule of the catalogue; part: 0 train, 1 valid, 2 test."""

    category: str
    smiles: str
    charge: int
    part: int
    n_atoms: int


def package_file(package: str, path: str) -> Path:
    """Return a data file of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError(f"install {package} (pip install --no-deps), whose files are read")
    return Path(spec.submodule_search_locations[0]) / path


def read_column(path: Path, column: str) -> Iterator[str]:
    """Yield one column of a CSV or TSV file, gzipped or not."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, delimiter="\t" if ".tsv" in path.name else ","):
            yield row[column]


def largest_fragment(smiles: str) -> str:
    """Return the part of a salt with the most atoms."""
    return max(smiles.split("."), key=len)


def drugs(rng: np.random.Generator) -> list[str]:
    """Draw drug-like molecules of 25 to 60 atoms from molsets."""
    names = list(read_column(package_file("moses", "dataset/data/train.csv.gz"), "SMILES"))
    return [names[i] for i in rng.choice(len(names), N_DRUGS, replace=False)]


def known_drugs(rng: np.random.Generator) -> list[str]:
    """Return the drugs of B3DB, those with B, Si, P, As, Se, Br or I first."""
    files = ("B3DB_classification.tsv", "B3DB_classification_external.tsv")
    names = [s for f in files for s in read_column(package_file("B3DB", f), "SMILES")]
    names = list(dict.fromkeys(largest_fragment(s) for s in names))
    rng.shuffle(names)
    rare = ("P", "I", "Br", "B", "Se", "Si", "As")
    return sorted(names, key=lambda s: not any(x in s.replace("Cl", "") for x in rare))


def qm9(rng: np.random.Generator) -> list[str]:
    """Draw molecules of QM9."""
    files = [package_file("qm9pack", f"data/qm9_part{k}.csv") for k in (1, 2, 3)]
    names = [s for f in files for s in read_column(f, "SMILES")]
    return [names[i] for i in rng.choice(len(names), N_QM9, replace=False)]


def fill(template: str, rng: np.random.Generator, crowded: int = 3) -> str:
    """Put random substituents in the places of a template; small ones where there are many."""
    n_places = template.count("{}")
    choices = tables.SMALL_SUBSTITUENTS if n_places >= crowded else tables.SUBSTITUENTS
    return template.format(*[choices[i] for i in rng.integers(len(choices), size=n_places)])


def element_molecules(element: str, rng: np.random.Generator) -> list[str]:
    """Enumerate molecules of an element over its bonding states, each state in turn."""
    states, names = tables.STATES[element], {}
    for visit in range(40):
        for state in states:
            if "{}" in state or visit == 0:
                name = fill(state, rng)
                names.setdefault(identity.constitution(name), name)
    names.pop("", None)
    return list(names.values())[:N_PER_ELEMENT]


def choose_site(
    mol: Chem.Mol, patterns: Iterable[tuple[Chem.Mol, float]], rng: np.random.Generator
) -> int | None:
    """Draw an atom that matches a pattern, by the patterns' weights."""
    sites = [(m[0], w) for p, w in patterns for m in mol.GetSubstructMatches(p)]
    if not sites:
        return None
    weights = np.array([w for _, w in sites])
    return int(sites[rng.choice(len(sites), p=weights / weights.sum())][0])


def move_proton(mol: Chem.Mol, site: int, change: int) -> Chem.Mol | None:
    """Add (+1) or take away (-1) a proton at an atom; None where the result is no molecule."""
    edited = Chem.RWMol(Chem.AddHs(mol))
    atom = edited.GetAtomWithIdx(site)
    if change < 0:
        protons = [n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1]
        if not protons:
            return None
        atom.SetFormalCharge(atom.GetFormalCharge() - 1)
        edited.RemoveAtom(protons[0])
    else:
        atom.SetFormalCharge(atom.GetFormalCharge() + 1)
        proton = edited.AddAtom(Chem.Atom(1))
        edited.AddBond(site, proton, Chem.BondType.SINGLE)
    for other in edited.GetAtoms():
        other.SetNumExplicitHs(0)
    try:
        Chem.SanitizeMol(edited)
    except (Chem.AtomValenceException, Chem.KekulizeException, ValueError):
        return None
    return Chem.RemoveHs(edited)


def ionize(smiles: str, kind: str, rng: np.random.Generator) -> str:
    """Return the protonated, deprotonated or zwitterionic form of a molecule, '' if it has none."""
    mol = Chem.MolFromSmiles(smiles)
    for step in {"cation": "+", "anion": "-", "zwitterion": "-+", "dication": "++"}[kind]:
        if mol is None:
            return ""
        site = choose_site(mol, BASE_PATTERNS if step == "+" else ACID_PATTERNS, rng)
        mol = None if site is None else move_proton(mol, site, 1 if step == "+" else -1)
    return "" if mol is None else Chem.MolToSmiles(mol)


def ions_of(names: list[str], n: int, rng: np.random.Generator) -> list[str]:
    """Make n ions and zwitterions from molecules drawn from `names`."""
    kinds, found = ("cation", "anion", "cation", "anion", "zwitterion", "dication"), []
    for i in rng.permutation(len(names)):
        ion = ionize(names[i], kinds[len(found) % len(kinds)], rng)
        if ion:
            found.append(ion)
        if len(found) == n:
            break
    return found


def peptide(rng: np.random.Generator) -> str:
    """Draw a peptide of one to five residues: neutral, capped, zwitterionic or charged."""
    length = int(rng.choice(5, p=[0.3, 0.3, 0.2, 0.12, 0.08])) + 1
    style = rng.choice(["neutral", "zwitterion", "capped", "charged"], p=[0.15, 0.4, 0.25, 0.2])
    codes = [str(c) for c in rng.choice([*tables.SIDE_CHAINS, "P"], length)]
    residues = []
    for code in codes:
        if code == "P":
            residues.append("N9CCC[C@H]9C(=O)")
            continue
        side, charged = tables.SIDE_CHAINS[code]
        side = charged if charged and rng.random() < (0.7 if style == "charged" else 0.3) else side
        mark = "" if code == "G" else "@@" if rng.random() < 0.9 else "@"
        residues.append(f"N[C{mark}H]({side})C(=O)" if side else "NCC(=O)")
    body, first_is_proline = "".join(residues), codes[0] == "P"
    if style == "capped":
        return f"CC(=O){body}NC"
    if style == "neutral":
        return f"{body}O"
    head = "[NH2+]" if first_is_proline else "[NH3+]"
    acid = "O" if style == "charged" and rng.random() < 0.5 else "[O-]"
    return head + body[1:] + acid


def peptides(rng: np.random.Generator) -> list[str]:
    """Draw peptides and single amino acids."""
    return [peptide(rng) for _ in range(N_PEPTIDES)]


def candidates(seed: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each category with its SMILES, not yet checked."""

    def stream(k: int) -> np.random.Generator:
        return np.random.default_rng([seed, k])

    yield "common", list(dict.fromkeys([*tables.COMMON, *tables.SOLVENTS]))
    yield "ion", [*tables.CATIONS, *tables.ANIONS]
    for k, element in enumerate(tables.STATES):
        yield f"element_{element}", element_molecules(element, stream(100 + k))
    drug_names, small_names = drugs(stream(1)), qm9(stream(2))
    yield "drug", drug_names
    yield "known_drug", known_drugs(stream(3))
    yield "qm9", small_names
    yield "drug_ion", ions_of(drug_names, N_DRUG_IONS, stream(4))
    yield "ion", ions_of(small_names, N_DRUG_IONS // 2, stream(5))
    yield "peptide", peptides(stream(6))


def large_candidates(seed: int) -> list[str]:
    """Return drugs and peptides, most of them large."""
    rng = np.random.default_rng([seed, 7])
    return [*known_drugs(rng), *(peptide(rng) for _ in range(N_PEPTIDES))]


def admit(
    category: str,
    smiles: str,
    reserved: identity.Reserved,
    sizes: tuple[int, int] = (1, MOST_ATOMS),
) -> tuple[Entry | None, str]:
    """Check one SMILES of at least and at most so many atoms: the entry, or None and why."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return None, "unreadable"
    full = Chem.AddHs(mol)
    if any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()):
        return None, "radical"
    if not {atom.GetSymbol() for atom in full.GetAtoms()} <= ELEMENTS:
        return None, "element"
    if not sizes[0] <= full.GetNumAtoms() <= sizes[1] or "." in smiles:
        return None, "size"
    name = identity.identify(mol)
    if identity.is_reserved(name, reserved):
        return None, "reserved"
    charge = Chem.GetFormalCharge(mol)
    entry = Entry(category, smiles, charge, identity.part_of(name), full.GetNumAtoms())
    return entry, ""


def build(seed: int, reserved: identity.Reserved) -> tuple[list[Entry], Counter[str]]:
    """Make the catalogue and count, by category, what was taken and what was refused and why."""
    entries, seen, counts = [], set(), Counter()
    for category, names in candidates(seed):
        for smiles in names:
            entry, reason = admit(category, smiles, reserved)
            key = identity.constitution(smiles)
            reason = reason or ("repeated" if key in seen else "")
            counts[f"{category}: {reason or 'taken'}"] += 1
            if entry is not None and not reason:
                seen.add(key)
                entries.append(entry)
        LOG.info("%s: %d", category, counts[f"{category}: taken"])
    return entries, counts


def build_large(seed: int, reserved: identity.Reserved) -> list[Entry]:
    """Make the catalogue of molecules larger than those trained on."""
    found: dict[str, Entry] = {}
    for smiles in large_candidates(seed):
        entry, _ = admit("large", smiles, reserved, (MOST_ATOMS + 1, LARGEST))
        if entry is not None:
            found.setdefault(identity.constitution(smiles), entry)
    LOG.info("large: %d", len(found))
    return list(found.values())


def build_arenes(seed: int, reserved: identity.Reserved) -> list[Entry]:
    """Make the catalogue of flat rings: each of the tables with up to 40 sets of substituents."""
    rng, found = np.random.default_rng([seed, 7]), {}
    for template in tables.ARENES:
        for _ in range(40):
            chosen = [str(x) for x in rng.choice(tables.ON_ARENES, size=template.count("{}"))]
            smiles = Chem.CanonSmiles(template.format(*chosen))
            entry, _ = admit("arene", smiles, reserved)
            if entry is not None:
                found.setdefault(identity.constitution(smiles), entry)
    LOG.info("arene: %d", len(found))
    return list(found.values())


def write(entries: Iterable[Entry], path: Path) -> None:
    """Write the catalogue as a table by rename."""
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(Entry._fields)
        table.writerows(entries)
    partial.replace(path)


def read(path: Path) -> list[Entry]:
    """Read the catalogue."""
    with path.open(newline="") as file:
        rows = csv.reader(file, delimiter="\t")
        next(rows)
        return [Entry(c, s, int(q), int(p), int(n)) for c, s, q, p, n in rows]
