"""Frames of files that are read again: each says what it was computed as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from molequi.simulation.calculator import Calculator


def bare_frame(
    atoms: Atoms,
    calculator: Calculator,
    info: Mapping[str, Any],
    positions: np.ndarray | None = None,
) -> Atoms:
    """Return a structure without its arrays, for a file.

    It keeps cell, charge, multiplicity and masses: without them a command that reads the file
    would take an ion for a neutral molecule, and D for H. positions: (N, 3), Å, in place of its
    own.
    """
    places = atoms.positions if positions is None else positions
    frame = Atoms(atoms.numbers, places, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("masses"):
        frame.set_masses(atoms.get_masses())
    charge, multiplicity = calculator.electrons(atoms)
    frame.info = {"charge": charge, "spin_multiplicity": multiplicity, **info}
    return frame
