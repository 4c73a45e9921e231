"""The rotational symmetry number: in how many ways a molecule can be turned onto itself."""

from __future__ import annotations

import itertools

import numpy as np

from molequi.graphs.elements import about_centre_of_mass

# Å: what a relaxed geometry lacks of its symmetry.
_TOLERANCE = 0.05
# Lengths below which a vector, Å, or an area, Å², has no direction.
_NO_LENGTH, _NO_AREA = 0.1, 0.05


def rotational_symmetry_number(
    numbers: np.ndarray,
    positions: np.ndarray,
    masses: np.ndarray,
    *,
    is_linear: bool,
    tolerance: float = _TOLERANCE,
) -> int:
    """Count the proper rotations that bring every atom to within `tolerance` (Å) of an equal one.

    numbers, masses: (N,), amu; atoms of other masses are other atoms. positions: (N, 3), Å. A
    linear molecule has 2 where it has a centre of inversion, else 1.
    """
    centred = about_centre_of_mass(positions, masses)
    kinds = np.unique(np.stack([numbers, masses.round(3)], axis=1), axis=0, return_inverse=True)[1]
    kinds = kinds.reshape(-1)
    if len(numbers) < 2:
        return 1
    lengths = np.linalg.norm(centred, axis=1)
    first = _rarest(kinds, lengths, lengths > _NO_LENGTH, tolerance)
    is_aside = np.linalg.norm(np.cross(centred, centred[first]), axis=1) > _NO_AREA
    if is_linear or not is_aside.any():
        return 1 if _permutation(centred, -centred, kinds, tolerance) is None else 2
    second = _rarest(kinds, lengths, is_aside, tolerance)
    pairs = itertools.product(
        *(_alike(kinds, lengths, number, tolerance) for number in (first, second))
    )
    reference = centred[[first, second]]
    rotations = (_turn(reference, centred[[one, other]]) for one, other in pairs if one != other)
    # As permutations: a pair under another angle may be turned by what turns a pair of its own.
    found = {_permutation(centred, centred @ turn.T, kinds, tolerance) for turn in rotations}
    return len(found - {None})


def _alike(kinds: np.ndarray, lengths: np.ndarray, number: int, tolerance: float) -> np.ndarray:
    """Return the atoms of one kind as far from the centre as one of them."""
    is_near = np.abs(lengths - lengths[number]) < tolerance
    return np.flatnonzero((kinds == kinds[number]) & is_near)


def _rarest(kinds: np.ndarray, lengths: np.ndarray, allowed: np.ndarray, tolerance: float) -> int:
    """Return an allowed atom that has the fewest like it."""
    return int(
        min(
            np.flatnonzero(allowed),
            key=lambda number: len(_alike(kinds, lengths, int(number), tolerance)),
        )
    )


def _turn(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the rotation that brings two vectors nearest to two others (Kabsch's)."""
    before, after = (np.vstack([pair, np.cross(*pair)]) for pair in (before, after))
    u, _, v = np.linalg.svd(after.T @ before)
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v)


def _permutation(
    positions: np.ndarray, moved: np.ndarray, kinds: np.ndarray, tolerance: float
) -> tuple[int, ...] | None:
    """Return which atom each moved one lies on, none where one lies on no atom of its kind."""
    distances = np.linalg.norm(positions[:, None] - moved[None], axis=2)
    distances = np.where(kinds[:, None] == kinds[None], distances, np.inf)
    if not (distances.min(axis=0) < tolerance).all():
        return None
    return tuple(distances.argmin(axis=0).tolist())
