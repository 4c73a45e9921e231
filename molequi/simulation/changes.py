"""What changed in a structure since it was last computed.

Exact, and cheaper than ASE's own comparison, which takes longer than a small model.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms


def changes_between(last: Atoms, atoms: Atoms) -> list[str]:
    """Name what differs, in ASE's words for the changes of a system."""
    changes = [
        name
        for name in ("numbers", "positions")
        if not np.array_equal(getattr(last, name), getattr(atoms, name))
    ]
    if not np.array_equal(last.cell.array, atoms.cell.array):
        changes.append("cell")
    if not np.array_equal(last.pbc, atoms.pbc):
        changes.append("pbc")
    return changes


def kept_copy(atoms: Atoms, kept: Atoms | None) -> Atoms:
    """Return what `changes_between` compares with: `kept` brought up to date, or a new copy.

    Only a structure of other atoms is worth a full one.
    """
    if kept is None or not np.array_equal(kept.numbers, atoms.numbers):
        return atoms.copy()
    kept.positions[:] = atoms.positions
    kept.cell[:] = atoms.cell
    kept.pbc[:] = atoms.pbc
    return kept
