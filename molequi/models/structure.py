"""A molecule or crystal as numbers, and the motions that physics has an answer for."""

from __future__ import annotations

import dataclasses

import numpy as np

from molequi.graphs.graph import AtomGraph
from molequi.graphs.neighbors import build_graph


@dataclasses.dataclass(frozen=True)
class Structure:
    """One molecule or crystal.

    positions: (N, 3), Å. atomic_numbers: (N,). cell: (3, 3), Å, rows are the cell vectors. pbc:
    (3,), bool.
    total_charge: e. spin_multiplicity: 2S + 1.
    """

    name: str
    positions: np.ndarray
    atomic_numbers: np.ndarray
    cell: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((3, 3)))
    pbc: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3, dtype=bool))
    total_charge: int = 0
    spin_multiplicity: int = 1

    @property
    def is_open(self) -> bool:
        """Whether no direction is periodic."""
        return not self.pbc.any()

    @property
    def is_periodic(self) -> bool:
        """Whether all three directions are periodic, so that a stress is defined."""
        return bool(self.pbc.all())

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))

    def graph(self, cutoff: float) -> AtomGraph:
        """Find the neighbours anew and return the graph; cutoff in Å."""
        return build_graph(
            self.positions,
            self.atomic_numbers,
            cutoff,
            cell=self.cell,
            pbc=self.pbc,
            total_charge=self.total_charge,
            spin_multiplicity=self.spin_multiplicity,
        )

    def at(self, positions: np.ndarray) -> Structure:
        """Return the same atoms at other positions: (N, 3), Å."""
        return dataclasses.replace(self, positions=positions)

    def mapped(self, matrix: np.ndarray) -> Structure:
        """Apply x -> matrix x to atoms and cell.

        A rotation, an inversion or a deformation, (3, 3).
        """
        return dataclasses.replace(
            self, positions=self.positions @ matrix.T, cell=self.cell @ matrix.T
        )

    def permuted(self, order: np.ndarray) -> Structure:
        """Return the atoms in another order: (N,)."""
        return dataclasses.replace(
            self, positions=self.positions[order], atomic_numbers=self.atomic_numbers[order]
        )

    def doubled(self) -> Structure:
        """Return two cells side by side along the first cell vector."""
        cell = self.cell * np.array([[2.0], [1.0], [1.0]])
        positions = np.concatenate([self.positions, self.positions + self.cell[0]])
        return dataclasses.replace(
            self, positions=positions, atomic_numbers=np.tile(self.atomic_numbers, 2), cell=cell
        )

    def beside(self, other: Structure, distance: float) -> Structure:
        """Join an open structure with a copy of another one moved by `distance` (Å) along x.

        Both must be neutral.
        """
        moved = other.positions + np.array([distance, 0.0, 0.0])
        numbers = np.concatenate([self.atomic_numbers, other.atomic_numbers])
        name = f"{self.name} and, {distance:g} Å away, {other.name}"
        return dataclasses.replace(
            self,
            name=name,
            positions=np.concatenate([self.positions, moved]),
            atomic_numbers=numbers,
        )


def structures_of(graph: AtomGraph) -> list[Structure]:
    """Split a graph into its molecules."""
    pieces = []
    for molecule in range(graph.n_molecules):
        mine = graph.batch == molecule
        pieces.append(
            Structure(
                f"structure {molecule}",
                graph.positions[mine].detach().cpu().numpy(),
                graph.atomic_numbers[mine].cpu().numpy(),
                graph.cell[molecule].detach().cpu().numpy(),
                graph.pbc[molecule].cpu().numpy(),
                int(graph.total_charge[molecule]),
                int(graph.spin_multiplicity[molecule]),
            )
        )
    return pieces


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Draw a proper rotation uniformly: (3, 3)."""
    matrix, upper = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix * np.linalg.det(matrix)
