"""Small chemistry by name: substituents, bonding states of each element, ions, common compounds.

The tables stand in `teacher_chemistry.txt`.
"""

from pathlib import Path


def read_tables(path: Path) -> dict[str, list[str]]:
    """Read sections `[name]` of words; lines that begin with # are comments."""
    tables: dict[str, list[str]] = {}
    words: list[str] = []
    for line in path.read_text().splitlines():
        # A SMILES may begin with a bracket as well; names of sections are not followed by any.
        if line.startswith("[") and line.endswith("]") and line[1:-1] in SECTIONS:
            words = tables.setdefault(line[1:-1], [])
        elif not line.startswith("# "):
            words.extend(line.split())
    return tables


ELEMENTS = ("B", "Si", "P", "S", "Cl", "F", "As", "Se", "Br", "I", "N", "O")
SECTIONS = (
    "substituents", "small substituents", "arenes", "cations", "anions", "solvents", "common",
    "tiny heads", "tiny centres", "tiny others", "tiny ions", "tiny partners", "halides",
    "acceptors",
    *(f"state {element}" for element in ELEMENTS),
)  # fmt: skip
_TABLES = read_tables(Path(__file__).with_name("teacher_chemistry.txt"))

SUBSTITUENTS, SMALL_SUBSTITUENTS = _TABLES["substituents"], _TABLES["small substituents"]
STATES = {element: _TABLES[f"state {element}"] for element in ELEMENTS}
CATIONS, ANIONS = _TABLES["cations"], _TABLES["anions"]
SOLVENTS, COMMON = _TABLES["solvents"], _TABLES["common"]
ARENES = _TABLES["arenes"]
TINY_HEADS, TINY_CENTRES = _TABLES["tiny heads"], _TABLES["tiny centres"]
TINY_OTHERS, TINY_IONS = _TABLES["tiny others"], _TABLES["tiny ions"]
TINY_PARTNERS, HALIDES, ACCEPTORS = (
    _TABLES[name] for name in ("tiny partners", "halides", "acceptors")
)
HALOGENS = ("F", "Cl", "Br", "I")
ON_ARENES = ("[H]", "C", "F", "Cl", "Br", "O", "N", "OC", "C#N", "C=O", "CC", "N(=O)=O", "S", "I")

# Amino acids by letter: the side chain on the alpha carbon and its charged form, if any.
SIDE_CHAINS: dict[str, tuple[str, str]] = {
    "G": ("", ""),
    "A": ("C", ""),
    "V": ("C(C)C", ""),
    "L": ("CC(C)C", ""),
    "I": ("C(C)CC", ""),
    "M": ("CCSC", ""),
    "F": ("Cc1ccccc1", ""),
    "Y": ("Cc1ccc(O)cc1", ""),
    "W": ("Cc1c[nH]c2ccccc12", ""),
    "S": ("CO", ""),
    "T": ("C(C)O", ""),
    "C": ("CS", "C[S-]"),
    "N": ("CC(N)=O", ""),
    "Q": ("CCC(N)=O", ""),
    "D": ("CC(=O)O", "CC(=O)[O-]"),
    "E": ("CCC(=O)O", "CCC(=O)[O-]"),
    "K": ("CCCCN", "CCCC[NH3+]"),
    "R": ("CCCNC(N)=N", "CCCNC(N)=[NH2+]"),
    "H": ("Cc1cnc[nH]1", "Cc1c[nH+]c[nH]1"),
    "U": ("C[SeH]", "C[Se-]"),
}
