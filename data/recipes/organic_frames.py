"""Off-equilibrium geometries of the organic training set, and the rules that reject some.

Pure functions of arrays and a random generator: z (n,), pos (n, 3) in Å.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii, vdw_radii

SOURCES = (
    "equilibrium", "md", "rattle", "stretch", "xh", "torsion", "pair", "pair_md", "relaxed",
    "extra",
)  # fmt: skip
CODE = {name: code for code, name in enumerate(SOURCES)}
LEAST_DISTANCE, HIGHEST_ENERGY = 0.6, 15.0


class Frame(NamedTuple):
    """One geometry: z (n,), pos (n, 3) Å; mu in D (NaN if unknown); source, a code of SOURCES."""

    z: np.ndarray
    pos: np.ndarray
    constitution: str
    split: int
    source: int
    mu: float


def distances(pos: np.ndarray) -> np.ndarray:
    """Return the (n, n) distances in Å, infinite on the diagonal."""
    matrix = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    np.fill_diagonal(matrix, np.inf)
    return matrix


def bonds(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Return the (n, n) bond matrix: closer than 1.25 times the covalent radii's sum."""
    radii = covalent_radii[z]
    return distances(pos) < 1.25 * (radii[:, None] + radii[None])


def far_side(bonded: np.ndarray, i: int, j: int) -> np.ndarray | None:
    """Return the mask of the atoms on j's side of the bond i-j, or None for a ring bond."""
    side, stack = np.zeros(len(bonded), dtype=bool), [j]
    side[j] = True
    while stack:
        atom = stack.pop()
        for k in np.flatnonzero(bonded[atom]):
            if atom == j and k == i:
                continue
            if k == i:
                return None
            if not side[k]:
                side[k] = True
                stack.append(int(k))
    return side


def open_bonds(z: np.ndarray, pos: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """List the bonds outside rings as (i, j, mask of j's side), i < j."""
    bonded = bonds(z, pos)
    pairs = [(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(bonded)), strict=True)]
    sides = [(i, j, far_side(bonded, i, j)) for i, j in pairs]
    return [(i, j, side) for i, j, side in sides if side is not None]


def rattle(pos: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Displace every coordinate by a normal deviate of width sigma (Å)."""
    return pos + rng.normal(0.0, sigma, pos.shape)


def stretch(
    z: np.ndarray,
    pos: np.ndarray,
    low: float,
    high: float,
    rng: np.random.Generator,
    *,
    only_xh: bool,
) -> np.ndarray | None:
    """Scale one open bond by a factor in [low, high], both sides rigid, then rattle by 0.02 Å.

    Returns None where the molecule has no such bond. With `only_xh` the bond holds a hydrogen.
    """
    choices = open_bonds(z, pos)
    if only_xh:
        choices = [c for c in choices if z[c[0]] == 1 or z[c[1]] == 1]
    if not choices:
        return None
    i, j, side = choices[rng.integers(len(choices))]
    moved = pos + side[:, None] * ((rng.uniform(low, high) - 1.0) * (pos[j] - pos[i]))
    return rattle(moved, 0.02, rng)


def rotate_about(pos: np.ndarray, axis: np.ndarray, angle: float) -> np.ndarray:
    """Rotate points (n, 3) about the axis through the origin (Rodrigues), angle in radians."""
    k = axis / np.linalg.norm(axis)
    parallel = (pos @ k)[:, None] * k
    return parallel + (pos - parallel) * np.cos(angle) + np.cross(k, pos) * np.sin(angle)


def twist(z: np.ndarray, pos: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """Turn about every open bond between heavy atoms by a random angle, then rattle by 0.03 Å.

    Half of the bonds stay; None where nothing can turn.
    """
    choices = [
        c for c in open_bonds(z, pos) if z[c[0]] > 1 and z[c[1]] > 1 and 1 < c[2].sum() < len(z) - 1
    ]
    if not choices:
        return None
    moved = pos.copy()
    for rank, row in enumerate(rng.permutation(len(choices))):
        i, j, side = choices[row]
        if rank == 0 or rng.random() < 0.5:
            angle = rng.uniform(-np.pi, np.pi)
            moved[side] = moved[j] + rotate_about(
                moved[side] - moved[j], moved[j] - moved[i], angle
            )
    return rattle(moved, 0.03, rng)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Draw a proper rotation matrix (3, 3) uniformly, from a random unit quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def place_pair(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Put two molecules (z, pos) beside each other in random orientations; returns (z, pos).

    The closest contact, in units of the sum of the van der Waals radii, is uniform in
    [0.65, 1.35]: 1.8 to 3.7 Å for O...H, 2.2 to 4.6 Å for C...C.
    """
    (z1, pos1), (z2, pos2) = first, second
    pos1 = (pos1 - pos1.mean(0)) @ random_rotation(rng).T
    pos2 = (pos2 - pos2.mean(0)) @ random_rotation(rng).T
    direction = random_rotation(rng)[0]
    radii = vdw_radii[z1][:, None] + vdw_radii[z2][None]
    contact, shift = rng.uniform(0.65, 1.35), 30.0
    low, high = 0.0, shift
    for _ in range(40):
        shift = 0.5 * (low + high)
        gaps = np.linalg.norm(pos1[:, None] - (pos2 + shift * direction)[None], axis=-1) / radii
        low, high = (low, shift) if gaps.min() > contact else (shift, high)
    return np.concatenate([z1, z2]), np.concatenate([pos1, pos2 + high * direction])


def rejection(
    pos: np.ndarray, energy_above: float, disagreement: float, largest_force: float
) -> str:
    """Name the reason to drop a frame, '' to keep it.

    close: two atoms nearer than 0.6 Å; energy: more than 15 eV above the relaxed molecule;
    disagreement: the ensemble's standard deviation of an atom's force vector exceeds 1.5 eV/Å
    and a quarter of the frame's largest force (eV/Å).
    """
    if len(pos) > 1 and distances(pos).min() < LEAST_DISTANCE:
        return "close"
    if not energy_above <= HIGHEST_ENERGY:
        return "energy"
    return "" if disagreement <= max(1.5, 0.25 * largest_force) else "disagreement"


def flatten(frames: Sequence[Frame]) -> dict[str, np.ndarray]:
    """Lay frames out as flat arrays.

    N_atoms, z, pos, constitution, split, source, dipole_magnitude.
    """
    return {
        "n_atoms": np.array([len(f.z) for f in frames], dtype=np.int32),
        "z": np.concatenate([f.z for f in frames]).astype(np.uint8),
        "pos": np.concatenate([f.pos for f in frames]).astype(np.float64),
        "constitution": np.array([f.constitution for f in frames]),
        "split": np.array([f.split for f in frames], dtype=np.uint8),
        "source": np.array([f.source for f in frames], dtype=np.uint8),
        "dipole_magnitude": np.array([f.mu for f in frames], dtype=np.float64),
    }


def offsets(n_atoms: np.ndarray) -> np.ndarray:
    """Return (B + 1,) offsets: the atoms of molecule i are rows off[i]:off[i + 1]."""
    return np.concatenate([[0], np.cumsum(n_atoms, dtype=np.int64)])
