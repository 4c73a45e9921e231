"""Physics guards: a simulation that has left physics is stopped, and the reason is told."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii

from molequi.graphs.neighbors import neighbor_pairs

# Atoms closer than this times the sum of their covalent radii are bonded at the start.
_BONDED = 1.25
# No thermal fluctuation of a molecule reaches this, and no model is made for it.
_HOTTEST = 5000.0
_TIMES_TOO_HOT = 10.0


class Guard:
    """Watches forces, temperature and the bonds of the first structure.

    temperature: K, that the simulation is meant to have; ten times as much, and at least 5000 K, is
    a blow-up. max_stretch: a bond longer than this times the sum of its covalent radii is broken;
    None watches no bonds.
    """

    def __init__(self, atoms: Atoms, temperature: float, max_stretch: float | None) -> None:
        self._numbers = atoms.numbers.copy()
        self._hottest = max(_TIMES_TOO_HOT * temperature, _HOTTEST)
        self._max_stretch = max_stretch
        radii = covalent_radii[atoms.numbers]
        reach = 2.0 * _BONDED * float(radii.max(initial=0.0)) + 0.1
        (sender, receiver), shifts = neighbor_pairs(
            atoms.positions, reach, cell=atoms.cell.array, pbc=atoms.pbc
        )
        length = np.linalg.norm(
            atoms.positions[sender] - atoms.positions[receiver] + shifts @ atoms.cell.array, axis=1
        )
        bonded = (length < _BONDED * (radii[sender] + radii[receiver])) & (sender <= receiver)
        self._sender, self._receiver, self._shifts = (
            sender[bonded],
            receiver[bonded],
            shifts[bonded].astype(np.float64),
        )
        self._normal = radii[self._sender] + radii[self._receiver]

    @property
    def n_bonds(self) -> int:
        """Number of bonds that are watched."""
        return 0 if self._max_stretch is None else len(self._normal)

    def problem(
        self, atoms: Atoms, energy: float, forces: np.ndarray, temperature: float
    ) -> str | None:
        """Return what has gone wrong, or None.

        energy: eV. forces: (N, 3), eV/Å. temperature: K, of this moment.
        """
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            return "the forces are no longer finite"
        if not temperature <= self._hottest:
            return (
                f"the temperature rose to {temperature:.0f} K (the limit is {self._hottest:.0f} K)"
            )
        return self._broken_bond(atoms)

    def _broken_bond(self, atoms: Atoms) -> str | None:
        if not self.n_bonds:
            return None
        vectors = atoms.positions.take(self._sender, axis=0) - atoms.positions.take(
            self._receiver, axis=0
        )
        if atoms.pbc.any():
            vectors += self._shifts @ atoms.cell.array
        stretch = np.sqrt(np.einsum("ij,ij->i", vectors, vectors)) / self._normal
        worst = int(stretch.argmax())
        if stretch[worst] <= self._max_stretch:
            return None
        i, j = sorted((int(self._sender[worst]), int(self._receiver[worst])))
        names = f"{chemical_symbols[self._numbers[i]]}{i}-{chemical_symbols[self._numbers[j]]}{j}"
        length = stretch[worst] * self._normal[worst]
        return (
            f"the bond {names} stretched to {length:.2f} Å ({stretch[worst]:.2f} times its normal "
            "length)"
        )
