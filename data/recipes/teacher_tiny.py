"""The smallest molecules and ions of the teacher's data set, their complexes, halogen bonds.

Molecules of 1 to 4 heavy atoms by simple rules: pairs of groups, a centre with one or two kinds of
ligands, and lists; halides of elements and oxoanions may be larger. What other stages hold little
of: naked halide ions, H2, diatomics, bonds far from their length, ions in contact with water.
Positions in Å.
"""

import itertools
import logging
from collections.abc import Iterable

import numpy as np
import teacher_fragments as tables
import teacher_geometries as geometries
import teacher_identity as identity
import teacher_moves as moves
from rdkit import Chem
from teacher_molecules import Entry, admit

LOG = logging.getLogger("teacher")
# Molecules of one shard, and complexes of one shard.
QUOTA = {"tiny": 68}
COMPLEXES = {"tiny_complex": 40, "halogen": 30}
# Small complexes of one shard of many.
MANY = {"tiny_pair": 22, "halogen": 8}
MOST_HALIDE_ATOMS = 16
# How often the smallest have their turn where others have one, by number of atoms.
TURNS = {1: 5, 2: 5, 3: 2}
LIGANDS = ("[H]", "F", "Cl", "Br", "I")
# Pauling's scale.
ELECTRONEGATIVITIES = {
    "H": 2.20, "B": 2.04, "C": 2.55, "N": 3.04, "O": 3.44, "F": 3.98, "Si": 1.90, "P": 2.19,
    "S": 2.58, "Cl": 3.16, "As": 2.18, "Se": 2.55, "Br": 2.96, "I": 2.66,
}  # fmt: skip
Pools = dict[tuple[str, int], list[Entry]]


def pairs() -> list[str]:
    """Combine every two monovalent groups, with themselves as well."""
    heads = tables.TINY_HEADS
    tails = [head.replace("({})", "").replace("{}", "") for head in heads]
    both = itertools.product(range(len(heads)), repeat=2)
    return [heads[i].format(tails[j]) for i, j in both if i <= j]


def centres() -> list[str]:
    """Give every centre all sets of ligands of at most two kinds."""
    found = []
    for centre in tables.TINY_CENTRES:
        sets = itertools.combinations_with_replacement(LIGANDS, centre.count("{}"))
        found += [centre.format(*ligands) for ligands in sets if len(set(ligands)) <= 2]
    return found


def halides() -> list[str]:
    """Put every halogen in the place of every pattern."""
    return [pattern.format(x) for pattern in tables.HALIDES for x in tables.HALOGENS]


def build(reserved: identity.Reserved, ions: frozenset[identity.Composition]) -> list[Entry]:
    """Make the catalogue: `tiny` molecules and ions, `partner`, `halide` and `acceptor`."""
    lists = {
        "tiny": [*pairs(), *centres(), *tables.TINY_OTHERS, *tables.TINY_IONS],
        "partner": tables.TINY_PARTNERS,
        "halide": halides(),
        "acceptor": tables.ACCEPTORS,
    }
    found: list[Entry] = []
    for category, names in lists.items():
        seen: set[str] = set()
        for smiles in names:
            key = identity.constitution(smiles)
            entry, reason = admit(category, smiles, reserved)
            if entry is not None and composition(entry) in ions:
                entry, reason = None, "ion of a suite"
            if entry is not None and (key not in seen or category in ("partner", "acceptor")):
                found.append(entry)
            elif reason:
                LOG.info("%s: %s is left out, %s", category, smiles, reason)
            seen.add(key)
        LOG.info("%s: %d", category, sum(e.category == category for e in found))
    return found


def composition(entry: Entry) -> identity.Composition:
    """Return the elements and the charge of a molecule."""
    full = Chem.AddHs(Chem.MolFromSmiles(entry.smiles))
    return identity.composition([atom.GetAtomicNum() for atom in full.GetAtoms()], entry.charge)


def order(entries: Iterable[Entry], seed: int) -> list[Entry]:
    """Return the tiny molecules in the order of their turns."""
    rows = [e for e in entries if e.category == "tiny" for _ in range(TURNS.get(e.n_atoms, 1))]
    return [rows[i] for i in np.random.default_rng([seed, 8]).permutation(len(rows))]


def pools(entries: Iterable[Entry], others: Iterable[Entry]) -> Pools:
    """Group what complexes are made of, by kind and part.

    Kinds: `tiny` (neutral), `anion`, `cation`, these and made ones (`any anion`, `any cation`),
    `monatomic` ions, `partner`, `acceptor`, and for each halogen, such as `halide Br`, molecules
    where it is bound. `others` add neutral halides of up to 16 atoms.
    """
    found: Pools = {}
    for entry in entries:
        kinds = [entry.category]
        ion = "cation" if entry.charge > 0 else "anion"
        if entry.category == "tiny_ion":
            kinds = [f"any {ion}"]
        elif entry.category == "tiny" and entry.charge:
            kinds = ["monatomic"] if entry.n_atoms == 1 else []
            kinds += [ion, f"any {ion}"]
        elif entry.category == "halide":
            kinds = halogens_of(entry)
        for kind in kinds:
            found.setdefault((kind, entry.part), []).append(entry)
    for entry in others:
        if entry.charge == 0 and entry.n_atoms <= MOST_HALIDE_ATOMS:
            for kind in halogens_of(entry):
                found.setdefault((kind, entry.part), []).append(entry)
    return found


def halogens_of(entry: Entry) -> list[str]:
    """Name the pools of halides that a molecule belongs to."""
    symbols = {atom.GetSymbol() for atom in Chem.MolFromSmiles(entry.smiles).GetAtoms()}
    return [f"halide {x}" for x in tables.HALOGENS if x in symbols]


def draw(found: Pools, kind: str, part: int, rng: np.random.Generator) -> Entry:
    """Draw a molecule of a kind; one that always trains where the part has none."""
    pool = found.get((kind, part)) or found[kind, identity.TRAIN]
    return pool[rng.integers(len(pool))]


def draw_complex(found: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw a naked halide ion (a fifth), another tiny ion or a tiny molecule beside a small one.

    One of twelve is a pair of ions.
    """
    kinds = ["monatomic", "anion", "cation", "tiny", "pair"]
    kind = str(rng.choice(kinds, p=[0.2, 0.32, 0.2, 0.2, 0.08]))
    if kind == "pair":
        return [draw(found, "cation", part, rng), draw(found, "anion", part, rng)]
    return [draw(found, kind, part, rng), draw(found, "partner", part, rng)]


def draw_pair(found: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw any ion (seven of ten) or a tiny molecule beside a small or tiny one, or two ions."""
    kinds = ["monatomic", "any anion", "any cation", "tiny", "ions"]
    kind = str(rng.choice(kinds, p=[0.1, 0.42, 0.2, 0.2, 0.08]))
    if kind == "ions":
        return [draw(found, "any cation", part, rng), draw(found, "any anion", part, rng)]
    second = "partner" if rng.random() < 0.6 else "tiny"
    return [draw(found, kind, part, rng), draw(found, second, part, rng)]


def draw_halogen(found: Pools, part: int, rng: np.random.Generator) -> list[Entry]:
    """Draw a molecule with a halogen and an acceptor."""
    x = str(rng.choice(tables.HALOGENS, p=[0.1, 0.28, 0.31, 0.31]))
    return [draw(found, f"halide {x}", part, rng), draw(found, "acceptor", part, rng)]


def assemble(
    category: str, partners: list[tuple[str, int]], part: int, rng: np.random.Generator
) -> geometries.Start | None:
    """Embed molecules and put them together; three of four complexes of ions attract each other.

    The start of lowest Coulomb energy of six then, whose charges are those of `bond_charges`.
    """
    is_drawn = category in ("tiny_complex", "tiny_pair") and rng.random() < 0.75
    made = [geometries.assemble(category, partners, part, rng) for _ in range(6 if is_drawn else 1)]
    found = [start for start in made if start is not None]
    return min(found, key=coulomb, default=None) if is_drawn else made[0]


def coulomb(start: geometries.Start) -> float:
    """Return the Coulomb energy between the molecules of a complex, e²/Å."""
    charges = np.concatenate([bond_charges(smiles) for smiles in start.smiles.split(".")])
    apart = start.fragment[:, None] < start.fragment[None]
    inverse = 1.0 / moves.distances(start.pos)
    return float((charges[:, None] * charges[None] * inverse)[apart].sum())


def bond_charges(smiles: str) -> np.ndarray:
    """Return rough charges of all atoms, e: formal ones and 0.16 e per bond and Pauling unit.

    Water's oxygen gets -0.40 e.
    """
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    charges = np.array([float(atom.GetFormalCharge()) for atom in mol.GetAtoms()])
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        first, second = (ELECTRONEGATIVITIES[atom.GetSymbol()] for atom in ends)
        charges[ends[0].GetIdx()] += 0.16 * (second - first)
        charges[ends[1].GetIdx()] += 0.16 * (first - second)
    return charges


def displacements(
    start: geometries.Start, pos: np.ndarray, rng: np.random.Generator
) -> list[geometries.Geometry]:
    """Draw displaced geometries of a tiny molecule or a complex relaxed at `pos`."""
    if len(start.z) == 1:
        return []
    noise = [
        thermal_noise(start.z, pos, *span, rng) for span in ((100.0, 1000.0), (1000.0, 3000.0))
    ]
    if not start.fragment.max():
        found = [("modes", moved) for moved in noise]
        n = 8 if len(start.z) <= max(TURNS) else 5
        found += [("bond", moved) for moved in bond_scan(start.z, pos, start.bonds, n, rng)]
        found.append(("squeeze", geometries.squeeze(pos, rng)))
    else:
        found = [("modes", noise[0])]
        found += [("contact", moved) for moved in contacts(start, pos, rng)]
        place = geometries.PLACES.get(start.category, moves.place_pair)
        last = start.fragment == start.fragment.max()
        parts = [(start.z[rows], pos[rows]) for rows in (~last, last)]
        found.append(("place", place(*parts, rng)[1]))
    return [geometries.Geometry(sampler, moved) for sampler, moved in found]


def thermal_noise(
    z: np.ndarray, pos: np.ndarray, low: float, high: float, rng: np.random.Generator
) -> np.ndarray:
    """Displace along the modes of an elastic network at a temperature in [low, high] K."""
    return geometries.mode_noise(z, pos, rng.uniform(low, high), rng)


def bond_scan(
    z: np.ndarray, pos: np.ndarray, bonds: np.ndarray, n: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Scale bonds, each in its turn, n in all; both sides rigid, then a rattle by 0.02 Å.

    To 0.7 to 1.3 of the length (three of five), evenly spread, else to 0.6 to 2.0 of it. In rings
    only one atom moves.
    """
    if not len(bonds):
        return []
    near = np.linspace(0.7, 1.3, n) + rng.uniform(-0.3 / n, 0.3 / n, size=n)
    scales = np.where(rng.random(n) < 0.6, near, rng.uniform(0.6, 2.0, size=n))
    first, bonded, found = int(rng.integers(len(bonds))), moves.bonds(z, pos), []
    for k, scale in enumerate(rng.permutation(scales)):
        i, j = (int(atom) for atom in bonds[(first + k) % len(bonds)])
        bonded[i, j] = bonded[j, i] = True
        side = moves.far_side(bonded, i, j)
        side = np.arange(len(z)) == j if side is None else side
        moved = pos + side[:, None] * ((scale - 1.0) * (pos[j] - pos[i]))
        found.append(moves.rattle(moved, 0.02 if len(z) > 2 else 0.0, rng))
    return found


def contacts(
    start: geometries.Start, pos: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw lengths of the closest contact: 1.3 to 8 Å, for halogen bonds 2.4 to 6 Å."""
    spans = ((1.3, 2.2), (1.7, 3.0), (2.5, 5.0), (5.0, 8.0))
    if start.category == "halogen":
        spans = ((2.4, 3.2), (2.7, 4.0), (4.0, 6.0))
    lengths = [rng.uniform(*span) for span in spans]
    return [
        moves.rattle(geometries.pull(pos, start.fragment, length), 0.01, rng) for length in lengths
    ]
