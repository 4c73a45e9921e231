"""Physics guards: a simulation that has left physics is stopped, and the reason is told.

Each of many structures is watched by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from molequi.graphs.neighbors import neighbor_pairs
from molequi.simulation.forces import JointCalculator
from molequi.simulation.joined import Joined

# Atoms closer than this times the sum of their covalent radii are bonded at the start.
_BONDED = 1.25
# No vibration brings atoms closer than this times the sum of their covalent radii.
_COLLAPSED = 0.6
# No thermal fluctuation of a molecule reaches this, and no model is made for it.
_HOTTEST = 5000.0
_TIMES_TOO_HOT = 10.0


class Bonds(NamedTuple):
    """Bonds as they stand: pairs (P, 2), shifts (P, 3) in cells, vectors (P, 3) in Å."""

    pairs: np.ndarray
    shifts: np.ndarray
    vectors: np.ndarray


def bonds_of(atoms: Atoms) -> Bonds:
    """Return the bonds of a structure by its distances, from the first atom to the second."""
    radii = covalent_radii[atoms.numbers]
    reach = 2.0 * _BONDED * float(radii.max(initial=0.0)) + 0.1
    (sender, receiver), shifts = neighbor_pairs(
        atoms.positions, reach, cell=atoms.cell.array, pbc=atoms.pbc
    )
    vectors = atoms.positions[sender] - atoms.positions[receiver] + shifts @ atoms.cell.array
    limit = _BONDED * (radii[sender] + radii[receiver])
    bonded = (np.linalg.norm(vectors, axis=1) < limit) & (sender <= receiver)
    pairs = np.stack([receiver, sender], axis=1)[bonded]
    return Bonds(pairs, shifts[bonded].astype(np.float64), vectors[bonded])


class Guard:
    """Watches forces, temperature, contacts, bonds and doubt of structures as they stand now.

    temperature: K, the highest that the simulation is meant to have; ten times as much, and at
    least 5000 K, is a blow-up. max_stretch: a bond longer than this times the sum of its covalent
    radii is broken; None watches no bonds. max_doubt: eV/Å, or None. Contacts that are as close at
    the start are no collapse.
    """

    def __init__(
        self,
        joined: Joined,
        temperature: float,
        max_stretch: float | None,
        max_doubt: float | None = None,
    ) -> None:
        self._joined, self._max_stretch, self._max_doubt = joined, max_stretch, max_doubt
        self._hottest = max(_TIMES_TOO_HOT * temperature, _HOTTEST)
        self._radii = covalent_radii[joined.numbers]
        each = [bonds_of(atoms) for atoms in joined.structures]
        self._pairs = np.concatenate(
            [first + bonds.pairs for first, bonds in zip(joined.first, each, strict=True)]
        ).reshape(-1, 2)
        self._shifts = np.concatenate([bonds.shifts for bonds in each]).reshape(-1, 3)
        self._normal = self._radii[self._pairs].sum(axis=1)
        self._closest = np.full(len(joined), _COLLAPSED)
        for number, bonds in enumerate(each):
            radii = covalent_radii[joined.structures[number].numbers]
            lengths = np.linalg.norm(bonds.vectors, axis=1) / radii[bonds.pairs].sum(axis=1)
            self._closest[number] = min(_COLLAPSED, 0.95 * lengths.min(initial=1.0))

    @property
    def n_bonds(self) -> int:
        """Number of bonds that are watched."""
        return 0 if self._max_stretch is None else len(self._pairs)

    def problems(self, calculator: JointCalculator, temperatures: np.ndarray) -> dict[int, str]:
        """Return what has gone wrong, by the number of the structure.

        calculator: at this moment. temperatures: (B,), K.
        """
        found: dict[int, str] = {}
        finite = np.isfinite(calculator.energies)
        finite &= self._joined.sums(~np.isfinite(calculator.forces)).sum(axis=1) == 0
        for number in np.flatnonzero(~finite):
            found[int(number)] = "the forces are no longer finite"
        for number in np.flatnonzero(~(temperatures <= self._hottest)):
            found.setdefault(
                int(number),
                f"the temperature rose to {temperatures[number]:.0f} K (the limit is "
                f"{self._hottest:.0f} K)",
            )
        positions = calculator.graph.positions.numpy()
        for reasons in (
            self._collapsed(calculator, positions),
            self._broken(positions),
            self._doubted(calculator.spreads),
        ):
            found = {**reasons, **found}
        return found

    def _collapsed(self, calculator: JointCalculator, positions: np.ndarray) -> dict[int, str]:
        """Tell which structures have atoms closer than physics allows."""
        sender, receiver = calculator.graph.edge_index.numpy()
        owner = self._joined.owner[receiver]
        vectors = positions.take(sender, axis=0) - positions.take(receiver, axis=0)
        if self._joined.pbc.any():
            shifts = calculator.graph.shifts.numpy().astype(np.float64)
            vectors += np.einsum("ei,eij->ej", shifts, self._joined.cells[owner])
        limit = self._closest[owner] * (self._radii[sender] + self._radii[receiver])
        near = np.flatnonzero(np.einsum("ei,ei->e", vectors, vectors) < limit * limit)
        return {
            int(owner[edge]): f"the atoms {self._names(sender[edge], receiver[edge])} fell "
            f"together to {np.linalg.norm(vectors[edge]):.2f} Å"
            for edge in near[::-1]
        }

    def _broken(self, positions: np.ndarray) -> dict[int, str]:
        if not self.n_bonds:
            return {}
        first, second = self._pairs.T
        owner = self._joined.owner[first]
        vectors = positions.take(second, axis=0) - positions.take(first, axis=0)
        if self._joined.pbc.any():
            vectors += np.einsum("pi,pij->pj", self._shifts, self._joined.cells[owner])
        stretch = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) / self._normal
        torn = np.flatnonzero(stretch > self._max_stretch)
        # The worst bond of each structure is told: it comes last, and stays.
        return {
            int(owner[bond]): f"the bond {self._names(first[bond], second[bond])} stretched to "
            f"{stretch[bond] * self._normal[bond]:.2f} Å ({stretch[bond]:.2f} times its normal "
            "length)"
            for bond in torn[np.argsort(stretch[torn], kind="stable")]
        }

    def _doubted(self, spreads: np.ndarray | None) -> dict[int, str]:
        if spreads is None or self._max_doubt is None:
            return {}
        return {
            int(number): f"the model doubts a force by {spreads[number]:.3f} eV/Å (the limit is "
            f"{self._max_doubt:g} eV/Å)"
            for number in np.flatnonzero(spreads > self._max_doubt)
        }

    def _names(self, first: int, second: int) -> str:
        """Name two atoms of a structure, the first one first, counted from 0 in it."""
        start = self._joined.first[self._joined.owner[first]]
        return "-".join(
            f"{chemical_symbols[self._joined.numbers[atom]]}{atom - start}"
            for atom in sorted((first, second))
        )
