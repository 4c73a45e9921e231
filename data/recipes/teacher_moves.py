"""Displacements of molecules: noise, stretched and turned bonds, two molecules side by side.

Pure functions of arrays and a random generator: z (n,), pos (n, 3) in Å.
"""

import numpy as np
from ase.data import covalent_radii, vdw_radii

# How often an atom gives or takes a halogen bond, by its number.
HALOGENS = {9: 1.0, 17: 4.0, 35: 5.0, 53: 6.0}
ACCEPTORS = {6: 1.0, 7: 4.0, 8: 4.0, 15: 4.0, 16: 4.0, 34: 4.0}


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
    return touching((z1, pos1), (z2, pos2), random_rotation(rng)[0], rng.uniform(0.65, 1.35))


def place_faces(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Put two molecules (z, pos) face to face, as rings stack; one of four stands on its edge.

    Turned and slipped at random; the closest contact, in units of the sum of the van der Waals
    radii, is uniform in [0.8, 1.25]: 2.7 to 4.3 Å for C...C.
    """
    (z1, pos1), (z2, pos2) = first, second
    tilt = 0.5 * np.pi if rng.random() < 0.25 else np.pi * rng.integers(2)
    tilt, turns = tilt + rng.normal(0.0, 0.14), rng.uniform(0.0, 2.0 * np.pi, size=3)
    c, s = np.cos(tilt), np.sin(tilt)
    tilting = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
    pos2 = about_z(lay_flat(pos2), turns[0]) @ tilting.T
    slip = about_z(np.array([3.5 * np.sqrt(rng.random()), 0.0, 0.0]), turns[1])
    pos2 = about_z(pos2, turns[2]) + slip
    up = np.array([0.0, 0.0, 1.0])
    return touching((z1, lay_flat(pos1)), (z2, pos2), up, rng.uniform(0.8, 1.25))


def place_halogen(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Put an acceptor before a halogen of the first molecule, heavy ones preferred.

    Seven of ten stand about the line of its bond (20°), the others anywhere up to 110° from it.
    The acceptor's atom, N, O, P, S or Se before others, turns its free side or, where it is flat,
    its face to the halogen. The contact, in units of the sum of the van der Waals radii, is uniform
    in [0.72, 1.3], 2.4 to 4.4 Å for Br...O; whatever would touch earlier moves it out.
    """
    (z1, pos1), (z2, pos2) = first, second
    x, a = _draw_atom(z1, HALOGENS, 0.0, rng), _draw_atom(z2, ACCEPTORS, 0.05, rng)
    angle = abs(rng.normal(0.0, 0.35)) if rng.random() < 0.7 else rng.uniform(0.0, 1.92)
    line = _away(z1, pos1, x, rng)
    across = np.cross(line, random_rotation(rng)[0])
    direction = rotate_about(line[None], across, angle)[0]
    facing = _away(z2, pos2, a, rng)
    if z2[a] == 6 or (len(z2) > 3 and rng.random() < 0.2):
        facing = np.linalg.svd(pos2 - pos2.mean(0), full_matrices=True)[2][2]
    facing = facing + rng.normal(0.0, 0.2, size=3)
    turned = (pos2 - pos2[a]) @ _turning(facing, -direction).T
    turned = rotate_about(turned, direction, rng.uniform(0.0, 2.0 * np.pi))
    contact = rng.uniform(0.72, 1.3)
    reach = contact * (vdw_radii[z1[x]] + vdw_radii[z2[a]])
    radii = contact * (vdw_radii[z1][:, None] + vdw_radii[z2][None])
    while True:
        placed = turned + pos1[x] + reach * direction
        gaps = np.linalg.norm(pos1[:, None] - placed[None], axis=-1) / radii
        gaps[x, a] = np.inf
        if gaps.min() > 0.85:
            return np.concatenate([z1, z2]), np.concatenate([pos1, placed])
        reach += 0.1


def _draw_atom(
    z: np.ndarray, weights: dict[int, float], other: float, rng: np.random.Generator
) -> int:
    """Draw an atom by the weights of the elements; any, where all weigh nothing."""
    weight = np.array([weights.get(int(number), other) for number in z])
    weight = weight if weight.any() else np.ones(len(z))
    return int(rng.choice(len(z), p=weight / weight.sum()))


def _away(z: np.ndarray, pos: np.ndarray, atom: int, rng: np.random.Generator) -> np.ndarray:
    """Return the unit vector from what an atom is bound to past it; any where it is surrounded."""
    bound = bonds(z, pos)[atom]
    if bound.any():
        way = pos[atom] - pos[bound].mean(0)
        if (length := np.linalg.norm(way)) > 0.1:
            return way / length
    return random_rotation(rng)[0]


def _turning(way: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Return a rotation (3, 3) that turns one direction onto another.

    Half a turn about the direction itself, which leaves it, then about the bisector.
    """
    way, onto = way / np.linalg.norm(way), onto / np.linalg.norm(onto)
    middle = way + onto
    if np.linalg.norm(middle) < 1e-6:
        middle = np.cross(way, np.eye(3)[np.abs(way).argmin()])
    middle /= np.linalg.norm(middle)
    about_middle, about_way = (2.0 * np.outer(v, v) - np.eye(3) for v in (middle, way))
    return about_middle @ about_way


def about_z(pos: np.ndarray, angle: float) -> np.ndarray:
    """Rotate positions (..., 3) about the z axis."""
    c, s = np.cos(angle), np.sin(angle)
    return pos @ np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])


def lay_flat(pos: np.ndarray) -> np.ndarray:
    """Turn a molecule so that its normal, the axis of least spread, is z; no mirror image."""
    centred = pos - pos.mean(0)
    axes = np.linalg.svd(centred)[2]
    axes[2] *= np.linalg.det(axes)
    return centred @ axes.T


def touching(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    direction: np.ndarray,
    contact: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Move the second molecule along a direction until they touch; returns (z, pos) of both.

    contact: the smallest distance, in units of the sum of the van der Waals radii.
    """
    (z1, pos1), (z2, pos2) = first, second
    radii = vdw_radii[z1][:, None] + vdw_radii[z2][None]
    low, high = 0.0, 30.0
    for _ in range(40):
        shift = 0.5 * (low + high)
        gaps = np.linalg.norm(pos1[:, None] - (pos2 + shift * direction)[None], axis=-1) / radii
        low, high = (low, shift) if gaps.min() > contact else (shift, high)
    return np.concatenate([z1, z2]), np.concatenate([pos1, pos2 + high * direction])


def offsets(n_atoms: np.ndarray) -> np.ndarray:
    """Return (B + 1,) offsets: the atoms of molecule i are rows off[i]:off[i + 1]."""
    return np.concatenate([[0], np.cumsum(n_atoms, dtype=np.int64)])
