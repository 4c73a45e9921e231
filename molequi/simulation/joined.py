"""Many structures as one: their atoms one after the other in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms


class Joined:
    """Structures whose atoms stand one after the other. B structures, N atoms in all.

    counts, first: (B,), the number of atoms of each and the index of its first one. owner: (N,),
    the structure of each atom. masses: (N, 1), g/mol. cells: (B, 3, 3), Å, of the structures now.
    Every structure has an atom.
    """

    def __init__(self, structures: Sequence[Atoms]) -> None:
        self.structures = list(structures)
        self.counts = np.array([len(atoms) for atoms in structures], dtype=np.int64)
        self.first = np.cumsum(self.counts) - self.counts
        self.owner = np.repeat(np.arange(len(self.counts)), self.counts)
        self.numbers = np.concatenate([atoms.numbers for atoms in structures])
        self.masses = np.concatenate([atoms.get_masses() for atoms in structures])[:, None]
        self.pbc = np.array([atoms.pbc for atoms in structures])

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.counts)

    @property
    def cells(self) -> np.ndarray:
        """Return the cells of the structures: (B, 3, 3), Å."""
        return np.array([atoms.cell.array for atoms in self.structures])

    def one(self) -> Atoms:
        """Return one structure of all atoms, for an integrator of ASE.

        A single structure is itself. Several have no cell in common, and positions and momenta
        alone: what needs a cell asks the structures.
        """
        if len(self) == 1:
            return self.structures[0]
        together = Atoms(
            numbers=self.numbers,
            positions=np.concatenate([atoms.positions for atoms in self.structures]),
            masses=self.masses[:, 0],
        )
        together.set_momenta(np.concatenate([atoms.get_momenta() for atoms in self.structures]))
        return together

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum values of atoms over each structure: (N, ...) to (B, ...)."""
        return np.add.reduceat(values, self.first, axis=0)

    def largest(self, values: np.ndarray) -> np.ndarray:
        """Return the largest value in each structure: (N, ...) to (B, ...)."""
        return np.maximum.reduceat(values, self.first, axis=0)

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Split values of atoms by structure."""
        return np.split(values, self.first[1:])

    def kinetic(self, momenta: np.ndarray) -> np.ndarray:
        """Return the kinetic energies: (N, 3) momenta in ASE's units to (B,), eV."""
        return 0.5 * self.sums(np.einsum("ij,ij->i", momenta, momenta) / self.masses[:, 0])
