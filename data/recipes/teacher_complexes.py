"""Which molecules stand beside each other: partners by kind, and how complexes are drawn."""

from collections.abc import Iterable

import numpy as np
import teacher_fragments as tables
import teacher_identity as identity
import teacher_tiny as tiny
from rdkit import Chem
from teacher_molecules import Entry

MOST_ATOMS, MOST_DRAWS = 64, 200
Pools = dict[tuple[str, int], list[Entry]]
SOLVENTS = frozenset(identity.constitution(smiles) for smiles in tables.SOLVENTS)


def make_pools(entries: list[Entry], arenes: Iterable[Entry] = ()) -> Pools:
    """Group possible partners of complexes by kind and part.

    tiny: up to three heavy atoms, all in part 0, which may stand beside any other molecule; ring:
    neutral, with an aromatic ring, up to 30 atoms; plain: of QM9 or common, up to 22 atoms.
    """
    pools: Pools = {}
    for entry in entries:
        for kind in kinds_of(entry):
            pools.setdefault((kind, entry.part), []).append(entry)
    for entry in arenes:
        pools.setdefault(("arene", entry.part), []).append(entry)
    return pools


def kinds_of(entry: Entry) -> list[str]:
    """Name the pools that a molecule belongs to."""
    kind, n_atoms = entry.category, entry.n_atoms
    neutral = {
        "solvent": kind == "common" and identity.constitution(entry.smiles) in SOLVENTS,
        "small": n_atoms <= 22 and kind.startswith(("qm9", "common", "element")),
        "plain": n_atoms <= 22 and kind in ("qm9", "common"),
        "large": n_atoms <= 46 and kind in ("drug", "known_drug", "peptide"),
        "ring": n_atoms <= 30 and has_aromatic_ring(entry.smiles),
        "tiny": is_tiny(entry),
    }
    is_ion = kind in ("ion", "drug_ion") and n_atoms <= 30
    charged = {
        "cation": is_ion and entry.charge > 0,
        "anion": is_ion and entry.charge < 0,
        "tiny_ion": is_tiny(entry),
    }
    return [name for name, fits in (charged if entry.charge else neutral).items() if fits]


def is_tiny(entry: Entry) -> bool:
    """Tell whether a molecule has up to three heavy atoms."""
    return entry.n_atoms <= 12 and Chem.MolFromSmiles(entry.smiles).GetNumHeavyAtoms() <= 3


def has_aromatic_ring(smiles: str) -> bool:
    """Tell whether a molecule has one."""
    return any(atom.GetIsAromatic() for atom in Chem.MolFromSmiles(smiles).GetAtoms())


def draw(pools: Pools, kind: str, part: int, rng: np.random.Generator) -> Entry:
    """Draw a partner of a kind; a tiny one where the part has none of that kind."""
    pool = pools.get((kind, part)) or pools[("tiny", identity.TRAIN)]
    return pool[rng.integers(len(pool))]


def water(pools: Pools) -> Entry:
    """Return water's entry."""
    return next(e for e in pools[("solvent", identity.TRAIN)] if e.smiles == "O")


def draw_dimer(pools: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw two neutral molecules, water among them in three of ten."""
    first = draw(
        pools, str(rng.choice(["solvent", "small", "large"], p=[0.35, 0.45, 0.2])), part, rng
    )
    choice = rng.random()
    if choice < 0.3:
        return [first, water(pools)]
    kind = "solvent" if choice < 0.6 else "small"
    return [first, draw(pools, kind, part, rng)]


def draw_ionic(pools: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw an ion pair (half), an ion beside a neutral molecule, or ions of one sign (a tenth)."""
    first = str(rng.choice(["cation", "anion"]))
    other = "anion" if first == "cation" else "cation"
    kind = str(
        rng.choice([other, "solvent", "small", "water", first], p=[0.5, 0.15, 0.1, 0.15, 0.1])
    )
    second = water(pools) if kind == "water" else draw(pools, kind, part, rng)
    return [draw(pools, first, part, rng), second]


def draw_ion_beside(pools: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw an ion, more often an anion, beside a neutral molecule, water in one of four."""
    first = str(rng.choice(["cation", "anion"], p=[0.4, 0.6]))
    kind = str(rng.choice(["solvent", "small", "water"], p=[0.4, 0.35, 0.25]))
    second = water(pools) if kind == "water" else draw(pools, kind, part, rng)
    return [draw(pools, first, part, rng), second]


def draw_cluster(pools: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw water (3 to 10), a solute or ion in water, or a mixture of small molecules."""
    style = rng.choice(["water", "solute", "ion", "mixture"], p=[0.3, 0.3, 0.2, 0.2])
    if style == "water" and part == identity.TRAIN:
        return [water(pools)] * int(rng.integers(3, 11))
    if style == "mixture":
        n = int(rng.integers(3, 6))
        return [draw(pools, "small" if k == 0 else "solvent", part, rng) for k in range(n)]
    kind = str(
        rng.choice(["cation", "anion"]) if style == "ion" else rng.choice(["small", "large"])
    )
    return [draw(pools, kind, part, rng)] + [water(pools)] * int(rng.integers(2, 7))


def draw_stack(pools: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw two molecules with flat rings (three of five), one and another, or two others."""
    kinds = [("ring", "ring"), ("ring", "small"), ("small", "small")]
    chosen = kinds[int(rng.choice(3, p=[0.6, 0.25, 0.15]))]
    return [draw(pools, kind, part, rng) for kind in chosen]


def draw_arenes(pools: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw two arenes (more than half), an arene and a plain molecule, or two of these."""
    kinds = [("arene", "arene"), ("arene", "plain"), ("plain", "plain")]
    chosen = kinds[int(rng.choice(3, p=[0.55, 0.25, 0.2]))]
    return [draw(pools, kind, part, rng) for kind in chosen]


DRAWERS = {
    "dimer": draw_dimer, "ionic": draw_ionic, "cluster": draw_cluster, "stack": draw_stack,
    "arene": draw_arenes, "tiny_complex": tiny.draw_complex, "halogen": tiny.draw_halogen,
    "ion_beside": draw_ion_beside, "tiny_pair": tiny.draw_pair,
}  # fmt: skip


def is_met(partners: list[Entry], reserved: identity.Reserved) -> bool:
    """Tell whether these molecules make up a system of the reference suites."""
    graphs = [i.graph for e in partners for i in identity.identify_smiles(e.smiles)]
    return tuple(sorted(graphs)) in reserved.complexes


def draw_complex(
    pools: Pools, reserved: identity.Reserved, kind: str, rng: np.random.Generator
) -> tuple[list[Entry], int]:
    """Draw the molecules of a complex and its part; all but tiny molecules are of that part."""
    while True:
        part = int(rng.choice([identity.TRAIN, identity.VALID, identity.TEST], p=[0.9, 0.05, 0.05]))
        for _ in range(MOST_DRAWS):  # a part of a small catalogue may hold nothing that fits
            partners = DRAWERS[kind](pools, part, rng)
            n_atoms = sum(e.n_atoms for e in partners)
            parts = {e.part for e in partners}
            fits = part in parts and parts <= {part, identity.TRAIN} and n_atoms <= MOST_ATOMS
            if fits and not is_met(partners, reserved):
                return partners, part
