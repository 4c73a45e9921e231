"""Geometries of the teacher's data set: molecules in 3D, complexes, and displacements of both.

Positions in Å, energies in eV. Functions of arrays and a random generator; only `embed` and
`assemble` make something of SMILES.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import teacher_moves as moves
from ase.data import covalent_radii
from rdkit import Chem
from rdkit.Chem import AllChem

BOLTZMANN = 8.617333262e-5  # eV/K
SAMPLERS = (
    "start", "relaxing", "relaxed", "md", "modes", "stretch", "xh", "torsion", "scan", "squeeze",
    "separate", "place", "approach", "bond", "contact",
)  # fmt: skip
CODE = {name: code for code, name in enumerate(SAMPLERS)}
# Bonds may be broken or formed here on purpose.
FREE = frozenset({"stretch", "xh", "squeeze", "approach", "bond", "contact"})
PLACES = {
    "stack": moves.place_faces, "arene": moves.place_faces, "halogen": moves.place_halogen,
}  # fmt: skip


class Start(NamedTuple):
    """A geometry to begin with: z, pos (n, 3), fragment (n,) number of each atom, bonds (M, 2)."""

    category: str
    smiles: str
    part: int
    charge: int
    z: np.ndarray
    pos: np.ndarray
    fragment: np.ndarray
    bonds: np.ndarray


class Geometry(NamedTuple):
    """A displaced geometry (n, 3) and the sampler that made it."""

    sampler: str
    pos: np.ndarray


def embed(smiles: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Make z, pos and bonds of a molecule by ETKDGv3, then MMFF94 or UFF where they apply.

    Returns None where RDKit finds no geometry.
    """
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    parameters = AllChem.ETKDGv3()
    parameters.randomSeed, parameters.timeout = seed, 10
    if AllChem.EmbedMolecule(mol, parameters) < 0:
        parameters.useRandomCoords = True
        if AllChem.EmbedMolecule(mol, parameters) < 0:
            return None
    if AllChem.MMFFHasAllMoleculeParams(mol):
        AllChem.MMFFOptimizeMolecule(mol, maxIters=200)
    elif AllChem.UFFHasAllMoleculeParams(mol):
        AllChem.UFFOptimizeMolecule(mol, maxIters=200)
    z = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
    return z, mol.GetConformer().GetPositions(), np.array(bonds, dtype=np.int64).reshape(-1, 2)


def assemble(
    category: str, molecules: Sequence[tuple[str, int]], part: int, rng: np.random.Generator
) -> Start | None:
    """Embed molecules (SMILES, charge) and put each beside those before it, by `PLACES`."""
    place = PLACES.get(category, moves.place_pair)
    z, pos, fragment, bonds = np.zeros(0, int), np.zeros((0, 3)), np.zeros(0, int), []
    for k, (smiles, _) in enumerate(molecules):
        made = embed(smiles, int(rng.integers(2**31)))
        if made is None:
            return None
        bonds.append(made[2] + len(z))
        z, pos = place((z, pos), made[:2], rng) if k else made[:2]
        fragment = np.concatenate([fragment, np.full(len(made[0]), k)])
    name, charge = ".".join(s for s, _ in molecules), sum(q for _, q in molecules)
    return Start(category, name, part, charge, z, pos, fragment, np.concatenate(bonds))


def elastic_hessian(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Return the Hessian (3n, 3n), eV/Å², of springs between all atoms: 30 eV/Å² (r0/r)^5.

    r0 is the sum of the covalent radii. It knows bonds (30), angles (about 3) and softer modes
    well enough to draw normal-mode noise and to precondition a relaxation.
    """
    vector = pos[:, None] - pos[None]
    distance = np.linalg.norm(vector, axis=-1) + np.eye(len(z))
    radii = covalent_radii[z][:, None] + covalent_radii[z][None]
    stiffness = 30.0 * np.minimum((radii / distance) ** 5, 4.0) * (1.0 - np.eye(len(z)))
    unit = vector / distance[..., None]
    blocks = -stiffness[..., None, None] * unit[..., :, None] * unit[..., None, :]
    rows = np.arange(len(z))
    blocks[rows, rows] = -blocks.sum(1)
    return blocks.transpose(0, 2, 1, 3).reshape(3 * len(z), 3 * len(z))


def mode_noise(
    z: np.ndarray, pos: np.ndarray, temperature: float, rng: np.random.Generator
) -> np.ndarray:
    """Displace by thermal noise of the elastic network's modes (temperature in K).

    Modes softer than 2 eV/Å² move as if they had that stiffness: along straight lines, which is
    how normal modes move, wide turns would stretch bonds.
    """
    values, modes = np.linalg.eigh(elastic_hessian(z, pos))
    width = np.sqrt(BOLTZMANN * temperature / np.maximum(values, 2.0))
    return pos + (modes @ (width * rng.normal(size=len(values)))).reshape(-1, 3)


def squeeze(pos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scale all distances by 0.82 to 1.15, then rattle by 0.02 Å."""
    return moves.rattle(pos * rng.uniform(0.82, 1.15), 0.02, rng)


def approach(
    z: np.ndarray, pos: np.ndarray, bonds: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """Push one bonded pair, with all that hangs on it, together to 0.65 to 0.9 of its length.

    In rings, where no side can move as a whole, only the two atoms move.
    """
    if not len(bonds):
        return None
    i, j = bonds[rng.integers(len(bonds))]
    side = moves.far_side(moves.bonds(z, pos), int(i), int(j))
    if side is None:
        side = np.arange(len(z)) == j
    moved = pos - side[:, None] * ((1.0 - rng.uniform(0.65, 0.9)) * (pos[j] - pos[i]))
    return moves.rattle(moved, 0.02, rng)


def torsion_scan(
    z: np.ndarray, pos: np.ndarray, n_angles: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Turn about one open bond between heavy atoms by n even steps; empty where nothing turns."""
    choices = [
        c
        for c in moves.open_bonds(z, pos)
        if z[c[0]] > 1 and z[c[1]] > 1 and 1 < c[2].sum() < len(z) - 1
    ]
    if not choices:
        return []
    i, j, side = choices[rng.integers(len(choices))]
    turned = []
    for angle in 2 * np.pi * (np.arange(n_angles) + rng.random()) / n_angles:
        moved = pos.copy()
        moved[side] = moved[j] + moves.rotate_about(pos[side] - pos[j], pos[j] - pos[i], angle)
        turned.append(moves.rattle(moved, 0.01, rng))
    return turned


def separate(pos: np.ndarray, fragment: np.ndarray, closest: float) -> np.ndarray:
    """Move the last fragment along the line of centres until the closest contact is `closest` Å."""
    last = fragment == fragment.max()
    return slide(pos, last, pos[last].mean(0) - pos[~last].mean(0), closest)


def pull(pos: np.ndarray, fragment: np.ndarray, closest: float) -> np.ndarray:
    """Move the last fragment along the closest contact until this is `closest` Å long."""
    last = fragment == fragment.max()
    vectors = pos[last][:, None] - pos[~last][None]
    row = np.linalg.norm(vectors, axis=-1).argmin()
    return slide(pos, last, vectors.reshape(-1, 3)[row], closest)


def slide(pos: np.ndarray, last: np.ndarray, direction: np.ndarray, closest: float) -> np.ndarray:
    """Move the atoms of the mask along a direction until the closest contact is `closest` Å."""
    direction = direction / max(float(np.linalg.norm(direction)), 1e-9)
    low, high = -4.0, 16.0
    for _ in range(40):
        shift = 0.5 * (low + high)
        gap = np.linalg.norm(pos[last][:, None] + shift * direction - pos[~last][None], axis=-1)
        low, high = (low, shift) if gap.min() > closest else (shift, high)
    return pos + high * direction * last[:, None]


def replace_last(
    z: np.ndarray, pos: np.ndarray, fragment: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Put the last fragment anew beside the others, in a random orientation."""
    last = fragment == fragment.max()
    return moves.place_pair((z[~last], pos[~last]), (z[last], pos[last]), rng)[1]


def damage(z: np.ndarray, bonds: np.ndarray, pos: np.ndarray) -> int:
    """Compare a geometry with the bonds it should have: 0 intact, 1 a proton went over, 2 reacted.

    A bond holds below 1.45 times the sum of the covalent radii; heavy atoms without a bond stay
    1.1 times it apart. A proton went over where it left its atom and is within reach of another.
    """
    ratio = moves.distances(pos) / (covalent_radii[z][:, None] + covalent_radii[z][None])
    bonded = np.zeros(ratio.shape, dtype=bool)
    bonded[bonds[:, 0], bonds[:, 1]] = True
    bonded |= bonded.T
    heavy = (z > 1)[:, None] & (z > 1)[None]
    broken, near = bonded & (ratio > 1.45), ratio < 1.45
    if (broken & heavy).any() or (heavy & ~bonded & (ratio < 1.1)).any():
        return 2
    if not broken.any():
        return 0
    protons = np.flatnonzero(broken.any(1) & (z == 1))
    return 1 if near[protons][:, z > 1].any(1).all() else 2


def is_usable(pos: np.ndarray) -> bool:
    """Tell whether a geometry is finite and has no atoms on each other."""
    return bool(np.isfinite(pos).all() and moves.distances(pos).min() > 0.5)


def displacements(start: Start, pos: np.ndarray, rng: np.random.Generator) -> list[Geometry]:
    """Draw displaced geometries of a single molecule or complex relaxed at `pos`."""
    z = start.z
    found = [("modes", mode_noise(z, pos, rng.uniform(100.0, 1000.0), rng))]
    if rng.random() < 0.4:
        found.append(("modes", mode_noise(z, pos, rng.uniform(50.0, 500.0), rng)))
    if start.fragment.max():
        found += complex_displacements(start, pos, rng)
    else:
        found += bond_displacements(start, pos, rng)
        if rng.random() < 0.6:
            found.append(("torsion", moves.twist(z, pos, rng)))
        if rng.random() < 0.04:
            found += [("scan", moved) for moved in torsion_scan(z, pos, 8, rng)]
    return [Geometry(sampler, moved) for sampler, moved in found if moved is not None]


def bond_displacements(
    start: Start, pos: np.ndarray, rng: np.random.Generator
) -> list[tuple[str, np.ndarray | None]]:
    """Stretch or compress bonds of about every other molecule."""
    z, draw = start.z, rng.random()
    if draw < 0.2:
        return [("stretch", moves.stretch(z, pos, 0.75, 1.6, rng, only_xh=False))]
    if draw < 0.35:
        return [("xh", moves.stretch(z, pos, 0.65, 1.7, rng, only_xh=True))]
    if draw < 0.47:
        return [("approach", approach(z, pos, start.bonds, rng))]
    return [("squeeze", squeeze(pos, rng))] if draw < 0.57 else []


def complex_displacements(
    start: Start, pos: np.ndarray, rng: np.random.Generator
) -> list[tuple[str, np.ndarray | None]]:
    """Draw geometries in which the molecules of a complex stand differently to each other."""
    near = separate(pos, start.fragment, rng.uniform(1.4, 3.0))
    far = [separate(pos, start.fragment, closest) for closest in rng.uniform(2.0, 10.0, size=2)]
    found = [("separate", near), *(("separate", moves.rattle(p, 0.01, rng)) for p in far)]
    return [*found, ("place", replace_last(start.z, pos, start.fragment, rng))]
