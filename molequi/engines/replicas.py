"""Many structures in one batch, again and again: beads of a ring polymer, systems side by side."""

from __future__ import annotations

from collections.abc import Sequence

from molequi.graphs.graph import AtomGraph, collate
from molequi.graphs.verlet import VerletList
from molequi.models.structure import Structure


class Replicas:
    """Graphs of structures that move, each place with a neighbour list of its own.

    cutoff, skin: Å. Structures may change places or be exchanged for others; that costs a search.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        self.cutoff, self.skin = cutoff, skin
        self._lists: list[VerletList] = []

    def graph(self, structures: Sequence[Structure]) -> AtomGraph:
        """Return one graph of all structures, in their order; there must be at least one."""
        while len(self._lists) < len(structures):
            self._lists.append(VerletList(self.cutoff, self.skin))
        return collate(
            [
                pairs.graph(
                    structure.positions,
                    structure.atomic_numbers,
                    cell=structure.cell,
                    pbc=structure.pbc,
                    total_charge=structure.total_charge,
                    spin_multiplicity=structure.spin_multiplicity,
                )
                for pairs, structure in zip(self._lists, structures, strict=False)
            ]
        )
