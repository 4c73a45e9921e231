"""One shard of the teacher's data set: a small, balanced set, made from its number and the seed.

Shard k takes the next molecules of every category, embeds them, relaxes them with one network,
displaces them, runs dynamics of a third of them, and labels all with the whole ensemble. So any
number of finished shards is a usable set, and a run that was stopped goes on with the next.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import teacher_aimnet as aimnet
import teacher_fragments as tables
import teacher_geometries as geometries
import teacher_identity as identity
import teacher_tiny as tiny
from rdkit import Chem
from teacher_molecules import Entry

LOG = logging.getLogger("teacher")
# Conformers of single molecules in one shard, by category.
QUOTA = {
    "drug": 44, "known_drug": 16, "qm9": 12, "drug_ion": 13, "ion": 10, "peptide": 7, "common": 8,
    "element_B": 5, "element_Si": 4, "element_P": 4, "element_S": 3, "element_Cl": 2,
    "element_F": 2, "element_As": 5, "element_Se": 5, "element_Br": 3, "element_I": 5,
    "element_N": 4, "element_O": 3,
}  # fmt: skip
# A third of these are second conformers, since relative energies of conformers are a target.
TWICE = frozenset({"drug", "known_drug"})
# Complexes in one shard.
COMPLEXES = {"dimer": 18, "ionic": 8, "cluster": 7}
# One shard of molecules larger than any that is trained on.
LARGE_QUOTA = {"large": 20}
# One shard of flat rings and other molecules face to face.
STACKS = {"stack": 60}
# One shard of arenes face to face, with small organic molecules among them.
ARENES = {"arene": 60}
CATEGORIES = (
    *QUOTA, *COMPLEXES, *LARGE_QUOTA, *STACKS, *ARENES, *tiny.QUOTA, *tiny.COMPLEXES,
)  # fmt: skip
RELAX_STEPS, DYNAMICS_STEPS, DYNAMICS_SHARE = 16, 48, 0.33
DYNAMICS_KEPT = (12, 24, 36, 48)
MOST_ATOMS, MOST_DRAWS = 64, 200
Pools = dict[tuple[str, int], list[Entry]]
# What is made in another way than by `teacher_geometries`.
ASSEMBLERS = dict.fromkeys(tiny.COMPLEXES, tiny.assemble)
DISPLACEMENTS = dict.fromkeys((*tiny.QUOTA, *tiny.COMPLEXES), tiny.displacements)


class Plan(NamedTuple):
    """What shards are made of: how many of each category, entries in a fixed order, partners.

    ions: compositions of which no charged frame may be, nor a part of one.
    """

    quota: dict[str, int]
    complexes: dict[str, int]
    orders: dict[str, list[Entry]]
    pools: Pools
    reserved: identity.Reserved
    ions: frozenset[identity.Composition] = frozenset()


def shuffled(entries: list[Entry], quota: dict[str, int], seed: int) -> dict[str, list[Entry]]:
    """Sort entries by category, each in an order that the seed fixes."""
    orders = {}
    for k, category in enumerate(quota):
        rows = [e for e in entries if e.category == category]
        order = np.random.default_rng([seed, k]).permutation(len(rows))
        orders[category] = [rows[i] for i in order]
    return orders


def make_plan(entries: list[Entry], reserved: identity.Reserved, seed: int) -> Plan:
    """Plan shards of all categories."""
    return Plan(QUOTA, COMPLEXES, shuffled(entries, QUOTA, seed), make_pools(entries), reserved)


def make_large_plan(entries: list[Entry], reserved: identity.Reserved, seed: int) -> Plan:
    """Plan shards of large molecules of the parts valid and test."""
    held_out = [e for e in entries if e.part != identity.TRAIN]
    return Plan(LARGE_QUOTA, {}, shuffled(held_out, LARGE_QUOTA, seed), {}, reserved)


def make_stack_plan(entries: list[Entry], reserved: identity.Reserved, seed: int) -> Plan:
    """Plan shards of stacks: what makes dispersion between molecules, of which dimers show little.

    Pools: `ring`, neutral molecules with an aromatic ring, up to 30 atoms; `small` and `tiny`.
    """
    del seed  # partners are drawn shard by shard
    pools = make_pools(entries)
    for entry in entries:
        is_small = entry.charge == 0 and entry.n_atoms <= 30
        if is_small and any(a.GetIsAromatic() for a in Chem.MolFromSmiles(entry.smiles).GetAtoms()):
            pools.setdefault(("ring", entry.part), []).append(entry)
    return Plan({}, STACKS, {}, pools, reserved)


def make_arene_plan(entries: list[Entry], arenes: list[Entry], reserved: identity.Reserved) -> Plan:
    """Plan shards of arenes, beside each other and beside `plain` molecules: QM9's and common."""
    pools = make_pools(entries)
    for entry in entries:
        if entry.charge == 0 and entry.n_atoms <= 22 and entry.category in ("qm9", "common"):
            pools.setdefault(("plain", entry.part), []).append(entry)
    for entry in arenes:
        pools.setdefault(("arene", entry.part), []).append(entry)
    return Plan({}, ARENES, {}, pools, reserved)


def make_tiny_plan(
    entries: list[Entry],
    others: list[Entry],
    kept_out: tuple[identity.Reserved, frozenset[identity.Composition]],
    seed: int,
) -> Plan:
    """Plan shards of the smallest molecules, their complexes, and halogen bonds.

    entries: of `teacher_tiny.build`; others: where further halides are found.
    """
    orders, pools = {"tiny": tiny.order(entries, seed)}, tiny.pools(entries, others)
    return Plan(tiny.QUOTA, tiny.COMPLEXES, orders, pools, *kept_out)


def make_pools(entries: list[Entry]) -> Pools:
    """Group possible partners of complexes by kind and part.

    tiny: up to three heavy atoms, all in part 0, which may stand beside any other molecule.
    """
    pools: Pools = {}
    solvents = {identity.constitution(s) for s in tables.SOLVENTS}
    for entry in entries:
        kinds = []
        if entry.category in ("ion", "drug_ion") and entry.n_atoms <= 30 and entry.charge:
            kinds.append("cation" if entry.charge > 0 else "anion")
        elif entry.charge == 0:
            if entry.category == "common" and identity.constitution(entry.smiles) in solvents:
                kinds.append("solvent")
            if entry.n_atoms <= 22 and entry.category.startswith(("qm9", "common", "element")):
                kinds.append("small")
            if entry.category in ("drug", "known_drug", "peptide") and entry.n_atoms <= 46:
                kinds.append("large")
        if entry.n_atoms <= 12 and Chem.MolFromSmiles(entry.smiles).GetNumHeavyAtoms() <= 3:
            kinds.append("tiny" if entry.charge == 0 else "tiny_ion")
        for kind in kinds:
            pools.setdefault((kind, entry.part), []).append(entry)
    return pools


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
}  # fmt: skip


def is_met(partners: list[Entry], reserved: identity.Reserved) -> bool:
    """Tell whether these molecules make up a system of the reference suites."""
    graphs = [i.graph for e in partners for i in identity.identify_smiles(e.smiles)]
    return tuple(sorted(graphs)) in reserved.complexes


def draw_complex(plan: Plan, kind: str, rng: np.random.Generator) -> tuple[list[Entry], int]:
    """Draw the molecules of a complex and its part; all but tiny molecules are of that part."""
    while True:
        part = int(rng.choice([identity.TRAIN, identity.VALID, identity.TEST], p=[0.9, 0.05, 0.05]))
        for _ in range(MOST_DRAWS):  # a part of a small catalogue may hold nothing that fits
            partners = DRAWERS[kind](plan.pools, part, rng)
            n_atoms = sum(e.n_atoms for e in partners)
            parts = {e.part for e in partners}
            fits = part in parts and parts <= {part, identity.TRAIN} and n_atoms <= MOST_ATOMS
            if fits and not is_met(partners, plan.reserved):
                return partners, part


def turn(order: list[Entry], shard: int, n: int, n_again: int) -> list[Entry]:
    """Return the n entries whose turn it is in a shard, the first `n_again` of them twice."""
    new = n - n_again
    chosen = [order[(shard * new + i) % len(order)] for i in range(new)] if order else []
    return chosen + chosen[:n_again]


def starts(plan: Plan, shard: int, rng: np.random.Generator) -> list[geometries.Start]:
    """Embed the molecules and complexes of a shard."""
    jobs: list[tuple[str, list[Entry], int]] = []
    for category, n in plan.quota.items():
        chosen = turn(plan.orders[category], shard, n, n // 3 if category in TWICE else 0)
        jobs += [(category, [entry], entry.part) for entry in chosen]
    for kind, n in plan.complexes.items():
        jobs += [(kind, *draw_complex(plan, kind, rng)) for _ in range(n)]
    made = [
        ASSEMBLERS.get(category, geometries.assemble)(
            category, [(e.smiles, e.charge) for e in partners], part, rng
        )
        for category, partners, part in jobs
    ]
    return [start for start in made if start is not None and is_labelled(start)]


def is_labelled(start: geometries.Start) -> bool:
    """Tell whether a start is worth labels: single atoms are among the tiny alone."""
    return len(start.z) > 1 or start.category in tiny.QUOTA


def structures_of(
    items: list[geometries.Start], positions: list[np.ndarray]
) -> list[aimnet.Structure]:
    """Pair starts with positions."""
    return [aimnet.Structure(s.z, p, s.charge) for s, p in zip(items, positions, strict=True)]


def usable(start: geometries.Start, pos: np.ndarray) -> bool:
    """Tell whether a relaxed geometry is finite and has no atoms on each other."""
    return bool(np.isfinite(pos).all() and geometries.moves.distances(pos).min() > 0.5)


def sample(
    teacher: aimnet.Teacher, items: list[geometries.Start], rng: np.random.Generator
) -> list[tuple[int, geometries.Geometry]]:
    """Make all geometries of a shard: (index of the start, geometry)."""
    network = int(rng.integers(len(teacher.networks)))

    def forces_of(structures: list[aimnet.Structure]) -> list[np.ndarray]:
        return teacher.forces(structures, network)

    first = structures_of(items, [s.pos for s in items])
    middle, relaxed = aimnet.relax(
        forces_of, first, RELAX_STEPS, (int(rng.integers(1, 7)), RELAX_STEPS)
    )
    made = [(i, geometries.Geometry("relaxing", p)) for i, p in enumerate(middle)]
    made += [(i, geometries.Geometry("relaxed", p)) for i, p in enumerate(relaxed)]
    good = [i for i, s in enumerate(items) if usable(s, relaxed[i])]
    for i in good:
        displacements = DISPLACEMENTS.get(items[i].category, geometries.displacements)
        made += [(i, g) for g in displacements(items[i], relaxed[i], rng)]
    moving = [i for i in good if rng.random() < DYNAMICS_SHARE]
    low = np.array([100.0 if items[i].fragment.max() else 300.0 for i in moving])
    high = np.array([400.0 if items[i].fragment.max() else 1000.0 for i in moving])
    temperatures = rng.uniform(low, high)
    chosen = structures_of([items[i] for i in moving], [relaxed[i] for i in moving])
    paths = aimnet.langevin(forces_of, chosen, temperatures, DYNAMICS_STEPS, DYNAMICS_KEPT, rng)
    made += [
        (i, geometries.Geometry("md", p))
        for kept in paths
        for i, p in zip(moving, kept, strict=True)
    ]
    return [(i, g) for i, g in made if usable(items[i], g.pos)]


def is_of_suite(
    start: geometries.Start, pos: np.ndarray, ions: frozenset[identity.Composition]
) -> bool:
    """Tell whether a frame holds an ion of the suites, to which a proton may have led."""
    bonded = geometries.moves.bonds(start.z, pos)
    return identity.holds_ion(start.z, bonded, start.charge, ions)


def damage_of(start: geometries.Start, pos: np.ndarray) -> int:
    """Return `teacher_geometries.damage` of a displaced start."""
    return geometries.damage(start.z, start.bonds, pos)


def pack(
    items: list[geometries.Start],
    made: list[tuple[int, geometries.Geometry]],
    labels: list[aimnet.Label],
) -> dict[str, np.ndarray]:
    """Lay a shard out flat; `start` (B,) points into the arrays of the starts."""
    rows = np.array([i for i, _ in made])
    of = [items[i] for i in rows]
    atoms = {
        "z": (np.concatenate([s.z for s in of]), np.uint8),
        "pos": (np.concatenate([g.pos for _, g in made]), np.float32),
        "fragment": (np.concatenate([s.fragment for s in of]), np.uint8),
        "forces": (np.concatenate([x.forces for x in labels]), np.float32),
        "forces_std": (np.concatenate([x.forces_std for x in labels]), np.float32),
        "charges": (np.concatenate([x.charges for x in labels]), np.float32),
        "charges_std": (np.concatenate([x.charges_std for x in labels]), np.float32),
        "atom_energies": (np.concatenate([x.atom_energies for x in labels]), np.float32),
    }
    whole = {
        "n_atoms": ([len(s.z) for s in of], np.int32),
        "charge": ([s.charge for s in of], np.int8),
        "part": ([s.part for s in of], np.uint8),
        "category": ([CATEGORIES.index(s.category) for s in of], np.uint8),
        "sampler": ([geometries.CODE[g.sampler] for _, g in made], np.uint8),
        "damage": ([damage_of(items[i], g.pos) for i, g in made], np.uint8),
        "start": (rows, np.int32),
        "energy": ([x.energy for x in labels], np.float64),
        "energy_std": ([x.energy_std for x in labels], np.float32),
    }
    arrays = {name: np.asarray(v).astype(dtype) for name, (v, dtype) in (whole | atoms).items()}
    return arrays | {"smiles": np.array([s.smiles for s in items])}


def make_shard(teacher: aimnet.Teacher, plan: Plan, shard: int, seed: int) -> dict[str, np.ndarray]:
    """Make and label shard number `shard`."""
    rng = np.random.default_rng([seed, 1000, shard])
    items = starts(plan, shard, rng)
    made = sample(teacher, items, rng)
    # Labels belong to the positions as they are stored, in float32.
    made = [(i, g._replace(pos=g.pos.astype(np.float32))) for i, g in made]
    made = [(i, g) for i, g in made if not is_of_suite(items[i], g.pos, plan.ions)]
    labels = teacher.label([aimnet.Structure(items[i].z, g.pos, items[i].charge) for i, g in made])
    return pack(items, made, labels)


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an npz by rename."""
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)


def summary(arrays: dict[str, np.ndarray]) -> dict[str, int]:
    """Count what the journal says of a shard."""
    n, counts = arrays["n_atoms"], Counter(CATEGORIES[c] for c in arrays["category"])
    return {
        "frames": len(n),
        "from_25_to_60": int(((n >= 25) & (n <= 60)).sum()),
        "charged": int((arrays["charge"] != 0).sum()),
        "complexes": sum(counts[kind] for kind in (*COMPLEXES, *STACKS, *ARENES, *tiny.COMPLEXES)),
        "reacted": int((arrays["damage"] > 1).sum()),
    }
