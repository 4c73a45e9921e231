"""One call of a model for the forces on many structures, as the calculator of a joined structure.

A graph of many small open molecules is laid out anew at every step, which costs less than keeping a
list for each; one structure alone, large ones and cells keep a Verlet list each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms

from molequi.graphs.batched import graph_of_molecules
from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.verlet import VerletList
from molequi.prediction.records import Values, split_outputs
from molequi.simulation.calculator import Calculator, Electrons
from molequi.simulation.joined import Joined
from molequi.simulation.offers import why_unsafe

# Atoms of the largest molecule up to which all its pairs are measured at every step.
_ALL_PAIRS = 100


class Admitted(NamedTuple):
    """A structure that a model computes. graph: as it stood when it was admitted.

    electrons: its charge and multiplicity. neighbors: its own list. doubt: what the model was not
    made for, None where all is well.
    """

    electrons: Electrons
    neighbors: VerletList
    graph: AtomGraph
    doubt: str | None


def admitted(calculator: Calculator, atoms: Atoms) -> Admitted:
    """Admit a structure with the settings of a calculator.

    Raises UserError for what the model does not know.
    """
    neighbors = VerletList(calculator.model.cutoff, calculator.parameters["skin"])
    electrons = calculator.electrons(atoms)
    graph = _graph_of(neighbors, electrons, atoms, atoms.positions, atoms.cell.array)
    device = calculator.model.device
    doubt = why_unsafe(calculator.model, graph.to(device), unsafe=calculator.unsafe)
    return Admitted(electrons, neighbors, graph, doubt)


def _graph_of(
    neighbors: VerletList, electrons: Electrons, atoms: Atoms, place: np.ndarray, cell: np.ndarray
) -> AtomGraph:
    return neighbors.graph(
        place, atoms.numbers, cell=cell, pbc=atoms.pbc,
        total_charge=electrons.charge, spin_multiplicity=electrons.multiplicity,
    )  # fmt: skip


class JointCalculator:
    """Energies and forces of joined structures, by the model and the settings of a calculator.

    each: (B,), what is known of each structure; admitted here where they are not given. After
    `update`: energies (B,), eV; forces (N, 3), eV/Å; spreads (B,), eV/Å, the largest `forces_std`
    of an atom of each, None where the model has none; graph. The methods that ASE calls take the
    joined structure. Raises UserError for what the model does not know.
    """

    def __init__(
        self, calculator: Calculator, joined: Joined, each: Sequence[Admitted] | None = None
    ) -> None:
        self.model, self.joined = calculator.model, joined
        self.each = each or [admitted(calculator, atoms) for atoms in joined.structures]
        self._is_flat = len(joined) > 1 and not joined.pbc.any()
        self._is_flat &= bool(joined.counts.max() <= _ALL_PAIRS)
        self._fixed = {
            name: torch.cat([getattr(one.graph, name) for one in self.each])
            for name in ("cell", "pbc", "total_charge", "spin_multiplicity")
        }
        self._numbers = torch.from_numpy(joined.numbers.astype(np.int64))
        self._positions = np.full((0, 3), np.nan)
        self._cells = joined.cells
        self._predictions: list[Values] | None = None

    def update(self, positions: np.ndarray, cells: np.ndarray | None = None) -> None:
        """Compute at these positions, (N, 3), and cells, (B, 3, 3), Å, unless that was the last."""
        cells = self._cells if cells is None else cells
        if np.array_equal(positions, self._positions) and np.array_equal(cells, self._cells):
            return
        self._positions, self._cells = positions.copy(), cells.copy()
        self.graph = self._graph(self._positions, cells)
        is_stressed = bool(self.joined.pbc.all())
        self.outputs = self.model.compute(
            self.graph.to(self.model.device), forces=True, stress=is_stressed
        )
        given = {name: self.outputs[name].detach().cpu() for name in self._wanted()}
        self.energies = given["energy"].double().numpy()
        self.forces = given["forces"].double().numpy()
        self.spreads = None
        if "forces_std" in given:
            per_atom = given["forces_std"].double().numpy().reshape(len(self.forces), -1)
            self.spreads = self.joined.largest(per_atom.max(axis=1))
        self._predictions = None

    @property
    def predictions(self) -> list[Values]:
        """Return everything that the last call gave, of each structure."""
        if self._predictions is None:
            self._predictions = split_outputs(self.model, self.graph, self.outputs)
        return self._predictions

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        """Return the forces, (N, 3), eV/Å; ASE calls it."""
        self._follow(atoms)
        return self.forces.copy()

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        """Return the energy of all structures together, eV; ASE calls it."""
        self._follow(atoms)
        return float(self.energies.sum())

    def get_stress(self, atoms: Atoms) -> np.ndarray:
        """Return the stress of a single cell, (3, 3), eV/Å³, tension positive; ASE calls it."""
        self._follow(atoms)
        return np.array(self.predictions[0]["stress"])

    def _follow(self, atoms: Atoms) -> None:
        self.update(atoms.positions, atoms.cell.array[None] if len(self.joined) == 1 else None)

    def _wanted(self) -> list[str]:
        return [name for name in ("energy", "forces", "forces_std") if name in self.outputs]

    def _graph(self, positions: np.ndarray, cells: np.ndarray) -> AtomGraph:
        if not self._is_flat:
            graphs = self._graphs(positions, cells)
            return graphs[0] if len(graphs) == 1 else collate(graphs)
        return graph_of_molecules(
            positions, self._numbers, self.joined.counts, self.model.cutoff, **self._fixed
        )

    def _graphs(self, positions: np.ndarray, cells: np.ndarray) -> list[AtomGraph]:
        """Make the graph of each structure by its own list."""
        joined = self.joined
        return [
            _graph_of(one.neighbors, one.electrons, atoms, place, cell)
            for one, atoms, place, cell in zip(
                self.each, joined.structures, joined.parts(positions), cells, strict=True
            )
        ]
