"""Boxes of water for programs that simulate."""

import numpy as np
from ase import Atoms
from ase.build import molecule


def turned_waters(counts, spacing, cell):
    """Waters on a grid of `counts` along each axis, `spacing` Å apart, each turned at random."""
    rng, box = np.random.default_rng(0), Atoms()
    for corner in np.ndindex(*counts):
        water = molecule("H2O")
        water.rotate(rng.uniform(0, 360), rng.normal(size=3))
        water.translate(spacing * np.array(corner))
        box += water
    box.set_cell(cell)
    box.pbc = True
    return box
