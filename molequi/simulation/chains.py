"""Nosé-Hoover chains, one for each of many structures."""

from __future__ import annotations

import numpy as np
from ase import units

# Suzuki-Yoshida weights of fourth order: H. Yoshida, Phys. Lett. A 150, 262 (1990).
_CUBE_ROOT = 2.0 ** (1.0 / 3.0)
_WEIGHTS = (1 / (2 - _CUBE_ROOT), -_CUBE_ROOT / (2 - _CUBE_ROOT), 1 / (2 - _CUBE_ROOT))
_LENGTH = 3


class Chains:
    """Chains of three thermostats.

    G. J. Martyna, M. L. Klein and M. Tuckerman, JCP 97, 2635 (1992). The chain of a structure with
    n degrees of freedom scales its momenta by exp(-dt v_1), v_j = p_j / Q_j, Q_1 = n kT time^2,
    Q_j = kT time^2. Unlike the chains of ASE, which count 3N degrees, these leave out what cannot
    move: a molecule at rest as a whole would run too hot by 3N / n.

    n_degrees: (B,). owner: (N,), the structure of each atom. kelvin: K. time: in ASE's unit.
    positions, momenta: (3, B), of the chains.
    """

    def __init__(
        self,
        n_degrees: np.ndarray,
        owner: np.ndarray,
        masses: np.ndarray,
        kelvin: float,
        time: float,
    ) -> None:
        self._n, self._owner, self._masses = n_degrees, owner, masses
        self._first = np.flatnonzero(np.diff(owner, prepend=-1))
        self._kt = units.kB * kelvin
        self._inertia = np.full((_LENGTH, len(n_degrees)), self._kt * time**2)
        self._inertia[0] *= n_degrees
        self.positions, self.momenta = np.zeros((2, _LENGTH, len(n_degrees)))

    def set_temperature(self, kelvin: float) -> None:
        """Aim at another temperature; the inertia stays."""
        self._kt = units.kB * kelvin

    def get_thermostat_energy(self) -> float:
        """Return what the chains hold, eV; ASE calls it."""
        return float(self.energies().sum())

    def energies(self) -> np.ndarray:
        """Return what each chain holds: with the energy of its structure that stays constant."""
        kinetic = 0.5 * (self.momenta**2 / self._inertia).sum(axis=0)
        return kinetic + self._kt * (self._n * self.positions[0] + self.positions[1:].sum(axis=0))

    def integrate_nhc(self, momenta: np.ndarray, delta: float) -> np.ndarray:
        """Let the chains act on the momenta of atoms, (N, 3), for a time; ASE calls it."""
        squares = np.einsum("ij,ij->i", momenta, momenta) / self._masses[:, 0]
        double_kinetic = np.add.reduceat(squares, self._first)
        factor = np.ones_like(double_kinetic)
        for weight in _WEIGHTS:
            factor *= self._turn(double_kinetic * factor**2, weight * delta)
        return momenta * factor[self._owner][:, None]

    def _turn(self, double_kinetic: np.ndarray, delta: float) -> np.ndarray:
        """Move the chains on by delta; return what the momenta of their atoms are scaled by."""
        for link in reversed(range(_LENGTH)):
            self._push(link, double_kinetic, delta)
        velocity = self.momenta / self._inertia
        self.positions += delta * velocity
        factor = np.exp(-delta * velocity[0])
        for link in range(_LENGTH):
            self._push(link, double_kinetic * factor**2, delta)
        return factor

    def _push(self, link: int, double_kinetic: np.ndarray, delta: float) -> None:
        """Let a link feel the one before it for delta / 2, and the drag of the next."""
        drag = 1.0
        if link + 1 < _LENGTH:
            drag = np.exp(-delta / 4 * self.momenta[link + 1] / self._inertia[link + 1])
        if link == 0:
            force = double_kinetic - self._n * self._kt
        else:
            force = self.momenta[link - 1] ** 2 / self._inertia[link - 1] - self._kt
        self.momenta[link] = (self.momenta[link] * drag + delta / 2 * force) * drag
