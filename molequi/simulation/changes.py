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
