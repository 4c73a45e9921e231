"""Whether a structure is still the molecule that it was: which bonds broke, which were made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from molequi.simulation.guard import bonds_of

# Times the sum of covalent radii: atoms farther apart are bonded by no measure. Between this and
# what `bonds_of` calls bonded nothing is said, so that no weak contact flickers.
_APART = 1.6
_SHOWN = 4


def bonds_changed(before: Atoms, after: Atoms) -> str | None:
    """Say which bonds broke and which were made, as `broken S0-F4; made F2-F3`; None for neither.

    By distances, atoms counted from 0. Both have the same atoms, in the same order and cell.
    """
    broken, made = (list(_torn(*pair)) for pair in ((before, after), (after, before)))
    said = [
        f"{what} {', '.join(bonds[:_SHOWN])}"
        + (f" and {len(bonds) - _SHOWN} more" if len(bonds) > _SHOWN else "")
        for what, bonds in (("broken", broken), ("made", made))
        if bonds
    ]
    return "; ".join(said) or None


def _torn(bonded: Atoms, apart: Atoms) -> Iterator[str]:
    """Yield the bonds of one geometry whose atoms are far apart in the other."""
    bonds = bonds_of(bonded)
    first, second = bonds.pairs.T
    vectors = apart.positions[second] - apart.positions[first] + bonds.shifts @ apart.cell.array
    normal = covalent_radii[bonded.numbers[first]] + covalent_radii[bonded.numbers[second]]
    symbols = bonded.get_chemical_symbols()
    for bond in np.flatnonzero(np.linalg.norm(vectors, axis=1) > _APART * normal):
        ends = sorted((int(first[bond]), int(second[bond])))
        yield "-".join(f"{symbols[atom]}{atom}" for atom in ends)
