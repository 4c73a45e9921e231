"""One shard of the teacher's data set: a small, balanced set, made from its number and the seed.

Shard k takes the next molecules of every category, embeds them, relaxes them with one network,
displaces them, runs dynamics of a third of them, and labels all with the whole ensemble. So any
number of finished shards is a usable set, and a run that was stopped goes on with the next.
"""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import teacher_aimnet as aimnet
import teacher_batched as batched
import teacher_chains as chains
import teacher_complexes as complexes
import teacher_geometries as geometries
import teacher_identity as identity
import teacher_tiny as tiny
import teacher_wide as wide
from teacher_molecules import Entry
from teacher_plans import (
    ARENES,
    COMPLEXES,
    DYNAMICS_SHARE,
    LARGE_QUOTA,
    QUOTA,
    STACKS,
    TWICE,
    Plan,
)

LOG = logging.getLogger("teacher")
CATEGORIES = (
    *QUOTA, *COMPLEXES, *LARGE_QUOTA, *STACKS, *ARENES, *tiny.QUOTA, *tiny.COMPLEXES, "ion_beside",
    "tiny_pair", "chain",
)  # fmt: skip
SAMPLERS = {"batched": batched, "wide": wide, "chains": chains}
RELAX_STEPS, DYNAMICS_STEPS = 16, 48
DYNAMICS_KEPT = (12, 24, 36, 48)
# What is made in another way than by `teacher_geometries`.
ASSEMBLERS = dict.fromkeys((*tiny.COMPLEXES, *tiny.MANY), tiny.assemble)
DISPLACEMENTS = dict.fromkeys((*tiny.QUOTA, *tiny.COMPLEXES, *tiny.MANY), tiny.displacements)


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
        jobs += [(category, [e], e.part) for e in chosen for _ in range(plan.conformers)]
    for kind, n in plan.complexes.items():
        jobs += [
            (kind, *complexes.draw_complex(plan.pools, plan.reserved, kind, rng)) for _ in range(n)
        ]
    made = [
        ASSEMBLERS.get(category, geometries.assemble)(
            category, [(e.smiles, e.charge) for e in partners], part, rng
        )
        for category, partners, part in jobs
    ]
    found = [start for start in made if start is not None and is_labelled(start)]
    return found + [start for other in plan.beside for start in starts(other, shard, rng)]


def is_labelled(start: geometries.Start) -> bool:
    """Tell whether a start is worth labels: single atoms are among the tiny alone."""
    return len(start.z) > 1 or start.category in tiny.QUOTA


def structures_of(
    items: list[geometries.Start], positions: list[np.ndarray]
) -> list[aimnet.Structure]:
    """Pair starts with positions."""
    return [aimnet.Structure(s.z, p, s.charge) for s, p in zip(items, positions, strict=True)]


def sample(
    teacher: aimnet.Teacher,
    items: list[geometries.Start],
    rng: np.random.Generator,
    *,
    dynamics: float = DYNAMICS_SHARE,
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
    good = [i for i, s in enumerate(items) if geometries.is_usable(relaxed[i])]
    for i in good:
        displacements = DISPLACEMENTS.get(items[i].category, geometries.displacements)
        made += [(i, g) for g in displacements(items[i], relaxed[i], rng)]
    moving = [i for i in good if rng.random() < dynamics]
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
    return [(i, g) for i, g in made if geometries.is_usable(g.pos)]


def few(
    items: list[geometries.Start],
    made: list[tuple[int, geometries.Geometry]],
    most: int,
    rng: np.random.Generator,
) -> list[tuple[int, geometries.Geometry]]:
    """Draw at most so many geometries of each start, a third as often those without a contact."""
    chosen = []
    for i, start in enumerate(items):
        own = [geometry for k, geometry in made if k == i]
        if not own:
            continue
        weights = np.array([1.0 if is_contact(start, g.pos) else 0.3 for g in own])
        rows = rng.choice(len(own), min(most, len(own)), replace=False, p=weights / weights.sum())
        chosen += [(i, own[row]) for row in rows]
    return chosen


def is_contact(start: geometries.Start, pos: np.ndarray) -> bool:
    """Tell whether molecules come nearer to each other than 4.5 Å."""
    apart = start.fragment[:, None] != start.fragment[None]
    return bool((geometries.moves.distances(pos)[apart] < 4.5).any())


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
    if plan.sampling == "each":
        made = sample(teacher, items, rng, dynamics=plan.dynamics)
    else:
        made = SAMPLERS[plan.sampling].sample(teacher, items, rng)
    if plan.most_frames is not None:
        made = few(items, made, plan.most_frames, rng)
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
