"""Choose the molecules of the organic training set: QM9 constitutions and common compounds.

A constitution is a canonical SMILES without stereo marks. QM9 (CC0, doi:10.1038/sdata.2014.22,
B3LYP/6-31G(2df,p) geometries and dipole magnitudes) is read from the installed `qm9pack`
package, which has already dropped the 3,054 uncharacterized molecules.
"""

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

ATOMIC_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8}
TRAIN, VALID, TEST = 0, 1, 2

# H2 comes apart from these: ANI-1ccx binds it at 0.07 Å.
TINY = """O N C [C-]#[O+] O=C=O N#N C#N C=O OO O=CO NN CO CC C=C C#C CN CC=O COC C=C=O N=C=O
N=O ON=O O[N+](=O)[O-] C[N+](=O)[O-] NO NC=O NC(N)=O N=N C=N N=C=N OC(=O)O CCO CC(=O)O CC#N CC(C)=O
CNC CN(C)C COC=O CC(N)=O C=CC CCC O=CC=O [N-]=[N+]=O C=C=C OCO""".split()

COMMON = """c1ccccc1 Cc1ccccc1 Oc1ccccc1 Nc1ccccc1 O=Cc1ccccc1 OCc1ccccc1 COc1ccccc1 C=Cc1ccccc1
O=C(O)c1ccccc1 O=[N+]([O-])c1ccccc1 CC(=O)c1ccccc1 Cc1ccc(C)cc1 O=C(O)c1ccccc1O
CC(=O)Oc1ccccc1C(=O)O CC(=O)Nc1ccc(O)cc1 CC(C)Cc1ccc(C(C)C(=O)O)cc1 COc1cc(C=O)ccc1O c1ccc2ccccc2c1
c1ccc(-c2ccccc2)cc1 c1ccc2[nH]ccc2c1 c1ccc2ncccc2c1 c1ccncc1 c1cc[nH]c1 c1ccoc1 c1c[nH]cn1 c1ncncn1
O=c1cc[nH]c(=O)[nH]1 Cc1c[nH]c(=O)[nH]c1=O Nc1cc[nH]c(=O)n1 Nc1ncnc2nc[nH]c12
Nc1nc2nc[nH]c2c(=O)[nH]1 Cn1c(=O)c2c(ncn2C)n(C)c1=O CN1CCCC1c1cccnc1 NCCc1ccc(O)c(O)c1
Nc1ncccc1OCc1ccccc1 NCC(=O)O CC(N)C(=O)O NC(CO)C(=O)O CC(C)C(N)C(=O)O CC(C)CC(N)C(=O)O
O=C(O)C1CCCN1 NC(CC(N)=O)C(=O)O NC(CC(=O)O)C(=O)O NC(Cc1ccccc1)C(=O)O NC(Cc1c[nH]cn1)C(=O)O
CC(=O)NC(C)C(=O)NC CC(=O)NCC(=O)NC CC(=O)NC CNC=O CN(C)C=O CN1CCCC1=O O=CCC=O O=CC=CO
CC(O)C(=O)O OCC(O)CO CCOC(C)=O COC(C)=O CC(=O)OC(C)=O CCOCC C1CCOC1 C1COCCO1 C1CCCCC1 C1CCCC1
CCCC CCCCC CCCCCC CCCCCCC CCCCCCCC CC(C)C CCCO CCCCO CC(C)O CC(C)(C)O OCCO C=CC=C CC=CC C1=CCCCC1
OCC1OC(O)C(O)C(O)C1O OC(=O)CC(O)(CC(=O)O)C(=O)O CC(C)=CCCC(C)=CC=O C=C(C)C1CC=C(C)CC1
CC(C)C1CCC(C)CC1O CC1(C)C2CCC1(C)C(=O)C2 CC1=CC(=O)CC(C)(C)C1 O=C1CCCCC1 O=C1CCCC1 C1CCNCC1
C1COCCN1 CCN(CC)CC CCN CCNCC NCCN NCCO CCC(=O)O OC(=O)C(=O)O OC(=O)CCC(=O)O O=C1OC(=O)C=C1
CCC=O CCC(C)=O C=CC=O C=CC(=O)O C=CC#N N#Cc1ccccc1 O=C1C=CC(=O)C=C1 C1CO1 CC1CO1""".split()


class Molecule(NamedTuple):
    """A molecule near its equilibrium: z (n,), pos (n, 3) Å, mu in D (NaN if unknown)."""

    z: np.ndarray
    pos: np.ndarray
    constitution: str
    split: int
    mu: float
    common: bool


def constitution_of(smiles: str) -> str:
    """Return the canonical SMILES without stereo marks, or '' if RDKit cannot read it."""
    mol = Chem.MolFromSmiles(smiles)
    if mol is None:
        return ""
    Chem.RemoveStereochemistry(mol)
    return Chem.MolToSmiles(mol)


def hash_fraction(text: str) -> float:
    """Return the first four bytes of the text's SHA-256 as a number in (0, 1)."""
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") + 0.5) / 2**32


def split_of(constitution: str) -> int:
    """Assign a constitution to train (0, 90 %), valid (1, 5 %) or test (2, 5 %).

    By the `hash_fraction` of 'organic:' + SMILES: below 0.05 valid, below 0.10 test.
    """
    fraction = hash_fraction(f"organic:{constitution}")
    return VALID if fraction < 0.05 else TEST if fraction < 0.10 else TRAIN


def heavy_atoms(z: np.ndarray) -> int:
    """Count the atoms that are not hydrogen."""
    return int(np.count_nonzero(np.asarray(z) > 1))


def read_excluded(path: Path | None) -> set[str]:
    """Return the constitutions listed one per line in `path`, canonicalised here."""
    if path is None:
        return set()
    lines = [line.strip() for line in path.read_text().splitlines()]
    return {line for line in lines if line} | {constitution_of(line) for line in lines if line}


def read_qm9(limit: int | None = None) -> pd.DataFrame:
    """Read QM9's H C N O molecules: columns constitution, Elements, XYZ_Ang (Å), Dipole_debye."""
    spec = importlib.util.find_spec("qm9pack")
    if spec is None or spec.origin is None:
        raise ImportError("The QM9 geometries come from the qm9pack package: pip install qm9pack")
    folder = Path(spec.origin).parent / "data"
    columns = ["Index", "SMILES", "Elements", "XYZ_Ang", "Dipole_debye"]
    parts = [pd.read_csv(folder / f"qm9_part{k}.csv", usecols=columns) for k in (1, 2, 3)]
    table = pd.concat(parts, ignore_index=True)
    table = table[~table.Elements.str.contains("'F'")].iloc[:limit]
    RDLogger.DisableLog("rdApp.*")
    table = table.assign(constitution=[constitution_of(s) for s in table.SMILES])
    table = table[table.constitution != ""].drop_duplicates("constitution")
    return table.assign(heavy=[e.count(",") + 1 - e.count("'H'") for e in table.Elements])


def small_rings(constitutions: Iterable[str]) -> np.ndarray:
    """Tell which constitutions hold a ring of three or four atoms."""
    pattern = [Chem.MolFromSmarts(f"[r{n}]") for n in (3, 4)]
    mols = [Chem.MolFromSmiles(s) for s in constitutions]
    return np.array([any(m.HasSubstructMatch(p) for p in pattern) for m in mols], dtype=bool)


def choose_qm9(
    table: pd.DataFrame, sizes: dict[int, int], n_extra: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw the constitutions for off-equilibrium frames, then train-only equilibrium extras.

    `sizes` maps a heavy-atom count to how many to draw; sizes not named are taken whole.
    Molecules without three- and four-membered rings, which QM9 has few of, weigh four times.
    """
    chosen = []
    for heavy, group in table.groupby("heavy"):
        n = min(sizes.get(int(heavy), len(group)), len(group))
        weight = np.where(small_rings(group.constitution), 1.0, 4.0)
        rows = rng.choice(len(group), n, replace=False, p=weight / weight.sum())
        chosen.append(group.iloc[np.sort(rows)])
    main = pd.concat(chosen)
    rest = table.drop(main.index)
    rest = rest[[split_of(s) == TRAIN for s in rest.constitution]]
    rows = rng.choice(len(rest), min(n_extra, len(rest)), replace=False)
    return main, rest.iloc[np.sort(rows)]


def qm9_molecules(table: pd.DataFrame) -> list[Molecule]:
    """Turn rows of `read_qm9` into molecules at QM9's own geometry."""
    molecules = []
    for row in table.itertuples():
        z = np.array([ATOMIC_NUMBERS[s] for s in ast.literal_eval(row.Elements)])
        pos = np.array(ast.literal_eval(row.XYZ_Ang), dtype=np.float64)
        smiles, mu = str(row.constitution), float(row.Dipole_debye)
        molecules.append(Molecule(z, pos, smiles, split_of(smiles), mu, common=False))
    return molecules


def embed(smiles: str, n_conformers: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Embed a SMILES in 3D (ETKDGv3, seed 0, MMFF94 where it has parameters).

    Returns (z, pos in Å) for each conformer.
    """
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    parameters = AllChem.ETKDGv3()
    parameters.randomSeed = 0
    ids = list(AllChem.EmbedMultipleConfs(mol, n_conformers, parameters))
    if not ids:
        raise ValueError(f"RDKit found no 3D geometry for {smiles!r}.")
    if AllChem.MMFFHasAllMoleculeParams(mol):
        AllChem.MMFFOptimizeMoleculeConfs(mol, maxIters=1000)
    z = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    return [(z, mol.GetConformer(i).GetPositions()) for i in ids]


def common_molecules(
    excluded: set[str], smiles: Sequence[str] = (*TINY, *COMMON)
) -> list[Molecule]:
    """Embed the tiny and common compounds, which always belong to the training part.

    The energies of QM9's `mu` do not belong to these geometries: mu is NaN.
    """
    molecules = []
    for name in dict.fromkeys(constitution_of(s) for s in smiles):
        if name in excluded:
            continue
        n_conformers = 1 if Chem.MolFromSmiles(name).GetNumAtoms() < 5 else 2
        for z, pos in embed(name, n_conformers):
            molecules.append(Molecule(z, pos, name, TRAIN, float("nan"), common=True))
    return molecules
