"""What is held while atoms move: atoms in their places, bonds of hydrogen, centres of mass."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixBondLengths, FixCom, FixInternals
from ase.constraints.constraint import FixConstraint

from molequi.errors import UserError
from molequi.simulation.guard import bonds_of
from molequi.simulation.joined import Joined

logger = logging.getLogger(__name__)

BONDS_OF_HYDROGEN = "x-h"
_INTERNAL = (FixBondLengths, FixInternals)  # which hold nothing in its place


class FixCentres(FixCom):
    """The centres of mass of some of many joined structures stay; ASE's `FixCom` for one.

    is_held: (B,), of which structures. Holds arrays alone: ASE copies constraints with every frame
    that is written, and structures would bring their calculator along.
    """

    def __init__(self, joined: Joined, is_held: np.ndarray) -> None:
        self._first, self._owner, self._masses = joined.first, joined.owner, joined.masses
        self._is_held = is_held
        self._inverse = is_held[:, None] / joined.sums(joined.masses)

    def get_removed_dof(self, atoms: Atoms) -> int:
        """Return three for each structure."""
        return 3 * int(self._is_held.sum())

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Move each structure back to where its centre was."""
        new -= self._mean(self._masses * (new - atoms.positions))

    def adjust_momenta(self, atoms: Atoms, momenta: np.ndarray) -> None:
        """Take out the velocity of each centre."""
        momenta -= self._masses * self._mean(momenta)

    def adjust_forces(self, atoms: Atoms, forces: np.ndarray) -> None:
        """Take out the force on each centre, shared by mass."""
        forces -= self._masses * self._mean(forces)

    def _mean(self, weighted: np.ndarray) -> np.ndarray:
        return (np.add.reduceat(weighted, self._first, axis=0) * self._inverse)[self._owner]


class FixBonds(FixBondLengths):
    """Bonds that keep their lengths: RATTLE over all bonds at once, ASE's goes one by one.

    pairs: (P, 2). vectors: (P, 3), Å, from the first atom to the second, through the cell's wall
    too; their lengths are kept. held: atoms that do not move, as if they were infinitely heavy; no
    bond lies between two of them. H. C. Andersen, J. Comput. Phys. 52, 24 (1983).
    """

    def __init__(
        self, pairs: np.ndarray, vectors: np.ndarray, joined: Joined, held: np.ndarray
    ) -> None:
        super().__init__(pairs, bondlengths=np.linalg.norm(vectors, axis=1))
        self._a, self._b = pairs.T
        positions = np.concatenate([atoms.positions for atoms in joined.structures])
        # Cells stay as they are while bonds are held.
        self._wall = vectors - (positions[self._b] - positions[self._a])
        self._moves = np.ones(len(positions))
        self._moves[held] = 0.0
        self._inverse = self._moves / joined.masses[:, 0]
        self._reduced = 1.0 / (self._inverse[self._a] + self._inverse[self._b])

    def adjust_positions(self, atoms: Atoms, new: np.ndarray) -> None:
        """Move the ends of each bond along where it lay, until all lengths are right."""
        before, squares = self._vectors(atoms.positions), self.bondlengths**2
        for _ in range(self.maxiter):
            now = self._vectors(new)
            miss = 0.5 * (squares - np.einsum("pi,pi->p", now, now))
            miss /= np.einsum("pi,pi->p", before, now)
            if not (np.abs(miss) > self.tolerance).any():
                return
            self._push(new, (self._reduced * miss)[:, None] * before, self._inverse)
        raise UserError("the bonds of hydrogen cannot be held; the timestep is too long")

    def adjust_momenta(self, atoms: Atoms, momenta: np.ndarray) -> None:
        """Take out the velocity along each bond."""
        along, squares = self._vectors(atoms.positions), self.bondlengths**2
        inverse = self._inverse[:, None]
        for _ in range(self.maxiter):
            velocity = momenta[self._b] * inverse[self._b] - momenta[self._a] * inverse[self._a]
            rate = np.einsum("pi,pi->p", velocity, along) / squares
            if not (np.abs(rate) > self.tolerance).any():
                return
            self._push(momenta, (-self._reduced * rate)[:, None] * along, self._moves)
        raise UserError("the velocities along bonds of hydrogen cannot be taken out")

    def _vectors(self, positions: np.ndarray) -> np.ndarray:
        return positions[self._b] - positions[self._a] + self._wall

    def _push(self, values: np.ndarray, change: np.ndarray, weights: np.ndarray) -> None:
        np.add.at(values, self._b, change * weights[self._b][:, None])
        np.add.at(values, self._a, -change * weights[self._a][:, None])


def lift_constraints(atoms: Atoms, what: str) -> None:
    """Free what a structure holds, in place, and say so; what: that which needs all atoms free."""
    if atoms.constraints:
        names = ", ".join(sorted({type(one).__name__ for one in atoms.constraints}))
        logger.warning(
            "the structure holds some atoms (%s); they are freed, as %s of all atoms", names, what
        )
    atoms.set_constraint()


class Held(NamedTuple):
    """What is held in joined structures, for ASE.

    n_removed: (B,), degrees of freedom that it takes. is_free: (B,), whether
    nothing holds a structure in its place.
    """

    constraints: list[FixConstraint]
    n_removed: np.ndarray
    is_free: np.ndarray


def held_in(joined: Joined, wishes: Sequence[str]) -> Held:
    """Hold what the structures' own constraints and the wishes say.

    wishes: `x-h` for bonds of hydrogen, or atoms of each structure, such as `0,3-5`. Raises
    UserError for what is not understood; several structures have no constraints but `FixAtoms`.
    """
    atoms = [
        first + _held_atoms(structure, wishes)
        for first, structure in zip(joined.first, joined.structures, strict=True)
    ]
    others = _other_constraints(joined)
    held = np.concatenate(atoms)
    constraints: list[FixConstraint] = [*others, *([FixAtoms(held)] if len(held) else [])]
    n_removed = np.array([3 * len(indices) for indices in atoms])
    is_free = (n_removed == 0) & all(isinstance(one, _INTERNAL) for one in others)
    n_removed += sum(one.get_removed_dof(joined.structures[0]) for one in others)
    if BONDS_OF_HYDROGEN in wishes:
        bonds = _bonds_of_hydrogen(joined, held)
        n_removed += np.bincount(joined.owner[bonds.pairs[:, 0]], minlength=len(joined))
        if len(bonds.pairs):
            constraints.append(FixBonds(*bonds, joined, held))
    return Held(constraints, n_removed, is_free)


def _other_constraints(joined: Joined) -> list[FixConstraint]:
    """Return what else holds a single structure. Raises UserError where there are several."""
    everything = [one for atoms in joined.structures for one in atoms.constraints]
    others = [one for one in everything if not isinstance(one, FixAtoms)]
    if others and len(joined) > 1:
        raise UserError(
            f"a structure has a constraint {type(others[0]).__name__}; of many structures at once "
            "only FixAtoms is held, run this one by itself"
        )
    return others


def _held_atoms(atoms: Atoms, wishes: Sequence[str]) -> np.ndarray:
    chosen: set[int] = set()
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            chosen.update(constraint.get_indices().tolist())
    for wish in wishes:
        if wish != BONDS_OF_HYDROGEN:
            chosen.update(_indices(wish, len(atoms)))
    return np.array(sorted(chosen), dtype=np.int64)


def _indices(wish: str, n_atoms: int) -> set[int]:
    found: set[int] = set()
    for part in wish.replace(" ", "").split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            raise UserError(
                f"{wish!r} holds nothing: give {BONDS_OF_HYDROGEN} for bonds of hydrogen, or atoms "
                "counted from 0, such as 0,3-5"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < n_atoms:
            raise UserError(
                f"{part!r} of {wish!r} is none of the structure's atoms: 0 to {n_atoms - 1}"
            )
        found.update(range(first, last + 1))
    return found


class _Bonds(NamedTuple):
    """Bonds as they stand. pairs: (P, 2). vectors: (P, 3), Å, from the first to the second atom."""

    pairs: np.ndarray
    vectors: np.ndarray


def _bonds_of_hydrogen(joined: Joined, held: np.ndarray) -> _Bonds:
    """Return the bonds that have a hydrogen, those between two held atoms left out."""
    pairs, vectors = [np.zeros((0, 2), dtype=np.int64)], [np.zeros((0, 3))]
    for first, atoms in zip(joined.first, joined.structures, strict=True):
        bonds = bonds_of(atoms)
        has_hydrogen = (atoms.numbers[bonds.pairs] == 1).any(axis=1)
        pairs.append(first + bonds.pairs[has_hydrogen])
        vectors.append(bonds.vectors[has_hydrogen])
    found, moves = np.concatenate(pairs), ~np.isin(np.concatenate(pairs), held).all(axis=1)
    return _Bonds(found[moves], np.concatenate(vectors)[moves])
