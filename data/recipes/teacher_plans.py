"""What shards of the teacher's data set are made of: how many of each category, in which order."""

from typing import Literal, NamedTuple

import numpy as np
import teacher_complexes as complexes
import teacher_identity as identity
import teacher_tiny as tiny
from teacher_complexes import Pools
from teacher_molecules import Entry

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
# One shard of complexes of all kinds, most of them of other molecules than in those above.
MANY = {"dimer": 24, "stack": 6, "arene": 8, "ionic": 5, "ion_beside": 18}
MOST_OF_MANY, DYNAMICS_OF_MANY = 5, 0.12
# Share of the starts of the other shards that move.
DYNAMICS_SHARE = 0.33
# Complexes of one shard that is made in batches: of all kinds, of many, of the smallest.
BATCHED = {"dimer": 10, "ionic": 6, "cluster": 5}
BATCHED_MANY = {"dimer": 14, "stack": 6, "arene": 8, "ionic": 6, "ion_beside": 16}
BATCHED_SMALLEST = {"tiny_pair": 18, "tiny_complex": 6, "halogen": 8}
BATCHED_TINY = {"tiny": 13}
# One shard of conformers, so many of each molecule.
CHAINS, CONFORMERS = {"chain": 50, "drug": 6, "known_drug": 3, "peptide": 5}, 5


class Plan(NamedTuple):
    """What shards are made of: how many of each category, entries in a fixed order, partners.

    ions: compositions of which no charged frame may be, nor a part of one. dynamics: the share of
    starts that move. most_frames: of one start. beside: whose starts are in the same shards.
    sampling: whose geometries: `teacher_shards.sample`, `teacher_batched`, `teacher_wide` or
    `teacher_chains`. conformers: starts of each entry.
    """

    quota: dict[str, int]
    complexes: dict[str, int]
    orders: dict[str, list[Entry]]
    pools: Pools
    reserved: identity.Reserved
    ions: frozenset[identity.Composition] = frozenset()
    dynamics: float = DYNAMICS_SHARE
    most_frames: int | None = None
    beside: tuple["Plan", ...] = ()
    sampling: Literal["each", "batched", "wide", "chains"] = "each"
    conformers: int = 1


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
    pools = complexes.make_pools(entries)
    return Plan(QUOTA, COMPLEXES, shuffled(entries, QUOTA, seed), pools, reserved)


def make_large_plan(entries: list[Entry], reserved: identity.Reserved, seed: int) -> Plan:
    """Plan shards of large molecules of the parts valid and test."""
    held_out = [e for e in entries if e.part != identity.TRAIN]
    return Plan(LARGE_QUOTA, {}, shuffled(held_out, LARGE_QUOTA, seed), {}, reserved)


def make_stack_plan(entries: list[Entry], reserved: identity.Reserved, seed: int) -> Plan:
    """Plan shards of stacks: dispersion between molecules, of which dimers show little."""
    del seed  # partners are drawn shard by shard
    return Plan({}, STACKS, {}, complexes.make_pools(entries), reserved)


def make_arene_plan(entries: list[Entry], arenes: list[Entry], reserved: identity.Reserved) -> Plan:
    """Plan shards of arenes, beside each other and beside molecules of QM9 and common ones."""
    return Plan({}, ARENES, {}, complexes.make_pools(entries, arenes), reserved)


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


def make_complex_plan(plain: Plan, small: Plan) -> Plan:
    """Plan shards of many complexes, few frames of each: what interaction energies are learned by.

    plain: of `make_arene_plan`, which has all pools; small: of `make_tiny_plan`.
    """
    many = small._replace(quota={}, complexes=tiny.MANY)
    return plain._replace(
        complexes=MANY,
        ions=small.ions,
        dynamics=DYNAMICS_OF_MANY,
        most_frames=MOST_OF_MANY,
        beside=(many,),
    )


def make_batched_plan(plain: Plan, many: Plan, small: Plan) -> Plan:
    """Plan shards of all kinds, molecules and complexes, that a GPU makes.

    plain: of `make_plan`; many: of `make_complex_plan`; small: of `make_tiny_plan`.
    """
    pairs = many.beside[0]._replace(quota=BATCHED_TINY, complexes=BATCHED_SMALLEST)
    pairs = pairs._replace(orders=small.orders)
    others = many._replace(complexes=BATCHED_MANY, beside=())
    return plain._replace(
        complexes=BATCHED, ions=many.ions, beside=(others, pairs), sampling="batched"
    )


def make_wide_plan(plain: Plan, many: Plan, small: Plan) -> Plan:
    """Plan shards of the same kinds, two frames of each start; arguments as of the one before."""
    return make_batched_plan(plain, many, small)._replace(sampling="wide")


def make_chain_plan(
    entries: list[Entry], chains: list[Entry], reserved: identity.Reserved, seed: int
) -> Plan:
    """Plan shards of conformers of chains and of other molecules with turns."""
    orders = shuffled([*entries, *chains], CHAINS, seed)
    return Plan(CHAINS, {}, orders, {}, reserved, sampling="chains", conformers=CONFORMERS)
