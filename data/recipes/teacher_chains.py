"""Conformers of chains: the turns about single bonds, each at the end of its way downhill.

Other stages draw one conformer or two of a molecule, so that the energies by which conformers
differ, tenths of a kcal/mol, drown in those by which molecules do.
"""

import numpy as np
import teacher_aimnet as aimnet
import teacher_geometries as geometries
import teacher_identity as identity
import teacher_molecules as molecules
import teacher_moves as moves
from rdkit import Chem

RELAX_STEPS = 24
# Shares of the starts that are displaced as well: by noise of modes at so many K, by a turn.
NOISE, TURNS, WARM = 0.5, 0.3, (50.0, 400.0)
N_CHAINS, LENGTHS, PURE = 1500, (3, 11), 0.4
# How often each link and end is drawn; of hydrocarbons the first five and the first end alone.
LINKS = {
    "C": 10.0, "C(C)": 2.0, "C(C)(C)": 0.7, "C=C": 0.6, "C(CC)": 0.7, "O": 1.6, "S": 0.6, "N": 0.8,
    "N(C)": 0.4, "C(O)": 1.4, "C(F)": 0.6, "C(Cl)": 0.6, "C(N)": 0.5, "C(=O)": 0.9, "C(=O)O": 0.6,
    "C(=O)N": 0.7, "C#C": 0.3, "C(F)(F)": 0.4, "[Si](C)(C)": 0.2, "S(=O)(=O)": 0.3,
    "c1ccc(cc1)": 0.3,
}  # fmt: skip
ENDS = {
    "C": 6.0, "O": 2.5, "N": 1.2, "F": 0.6, "Cl": 0.6, "Br": 0.4, "S": 0.7, "OC": 0.8, "C#N": 0.5,
    "C=O": 0.5, "C(=O)O": 0.7, "C(=O)N": 0.5, "c1ccccc1": 0.4, "C=C": 0.5, "C1CC1": 0.2,
}  # fmt: skip
N_OF_HYDROCARBONS = 5
# Bonds between two of these are other stages' business.
CROWDED = Chem.MolFromSmarts("[N,O,S,F,Cl,Br;!$(S(=O)=O)]~[N,O,S,F,Cl,Br;!$(S(=O)=O)]")


def build(seed: int, reserved: identity.Reserved) -> list[molecules.Entry]:
    """Make the catalogue of chains."""
    rng, found = np.random.default_rng([seed, 8]), {}
    for _ in range(20 * N_CHAINS):
        smiles = chain(rng)
        entry, _ = molecules.admit("chain", smiles, reserved)
        mol = Chem.MolFromSmiles(smiles)
        if entry is not None and not mol.HasSubstructMatch(CROWDED):
            found.setdefault(identity.constitution(smiles), entry)
        if len(found) == N_CHAINS:
            break
    return list(found.values())


def chain(rng: np.random.Generator) -> str:
    """Draw an end, some links and an end; hydrocarbons in a share `PURE`."""
    is_pure = rng.random() < PURE
    links, ends = dict(LINKS), dict(ENDS)
    if is_pure:
        links, ends = dict(list(LINKS.items())[:N_OF_HYDROCARBONS]), {"C": 1.0}

    def draw(table: dict[str, float], n: int) -> list[str]:
        weights = np.array(list(table.values()))
        return [str(x) for x in rng.choice(list(table), n, p=weights / weights.sum())]

    first = {name: weight for name, weight in ends.items() if len(name) <= len("Cl")}
    middle = draw(links, int(rng.integers(*LENGTHS)))
    return "".join([*draw(first, 1), *middle, *draw(ends, 1)])


def sample(
    teacher: aimnet.Teacher, items: list[geometries.Start], rng: np.random.Generator
) -> list[tuple[int, geometries.Geometry]]:
    """Make the geometries of a shard: (index of the start, geometry)."""
    network = int(rng.integers(len(teacher.networks)))
    first = [aimnet.Structure(start.z, start.pos, start.charge) for start in items]
    (last,) = aimnet.relax(
        lambda batch: teacher.forces(batch, network), first, RELAX_STEPS, (RELAX_STEPS,)
    )
    made = []
    for i, (start, pos) in enumerate(zip(items, last, strict=True)):
        if not geometries.is_usable(pos):
            continue
        found = [("relaxed", pos)]
        draw = rng.random()
        if draw < NOISE:
            found.append(("modes", geometries.mode_noise(start.z, pos, rng.uniform(*WARM), rng)))
        elif draw < NOISE + TURNS:
            found.append(("torsion", moves.twist(start.z, pos, rng)))
        made += [(i, geometries.Geometry(name, p)) for name, p in found if p is not None]
    return [(i, geometry) for i, geometry in made if geometries.is_usable(geometry.pos)]
