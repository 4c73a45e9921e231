"""Symmetries of square grids as examples of groups: turned images, and two wallpaper groups."""

from __future__ import annotations

import numpy as np

from molequi.errors import UserError
from molequi.groups.finite import FiniteGroup, dihedral_group, grid_sources
from molequi.groups.named_representations import permutation_representation
from molequi.groups.representations import Representation


def image_representation(group: FiniteGroup, size: int) -> Representation:
    """Return C_n or D_n (n = 1, 2, 4) on images of size x size pixels, turned about their centre.

    (g f)(x) = f(g^-1 x).
    """
    return permutation_representation(
        group.name, [grid_sources(group.matrices[g], size) for g in group.generators], "image"
    )


def wallpaper_representation(name: str, size: int) -> Representation:
    """Return p4 (turns and shifts) or p4m (mirrors too) on a periodic grid of size x size pixels.

    Raises UserError for another name.
    """
    if name not in {"p4", "p4m"}:
        raise UserError(f"the wallpaper group is {name!r}; p4 and p4m act on a square grid")
    turn, mirror = (dihedral_group(4).matrices[g] for g in dihedral_group(4).generators)
    shift = np.roll(np.arange(size * size).reshape(size, size), 1, axis=0).ravel()
    kept = [turn] if name == "p4" else [turn, mirror]
    return permutation_representation(
        f"{name} on {size} x {size}", [*(grid_sources(m, size) for m in kept), shift], "image"
    )
