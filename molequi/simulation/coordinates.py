"""Bonds, angles and torsions by the numbers of their atoms: read, measured, set and held."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.constraints import FixInternals
from ase.data import covalent_radii
from scipy.spatial.transform import Rotation

from molequi.errors import UserError

# Atoms nearer than this times the sum of their covalent radii are bonded.
_BONDED = 1.25
_KINDS = {2: ("bond", "Å"), 3: ("angle", "°"), 4: ("torsion", "°")}
_NO_PLANE = 1e-6  # sine of an angle; below, three atoms lie in a straight line
_STRAIGHT = 5.0  # degrees from a straight line, where an angle gives a torsion no direction


class Coordinate(NamedTuple):
    """A bond (2 atoms), angle (3) or torsion (4). atoms: numbers from 0."""

    atoms: tuple[int, ...]

    @property
    def kind(self) -> str:
        """One of bond, angle, torsion."""
        return _KINDS[len(self.atoms)][0]

    @property
    def unit(self) -> str:
        """Å or degrees."""
        return _KINDS[len(self.atoms)][1]

    @property
    def text(self) -> str:
        """As it is written on a command line."""
        return "-".join(map(str, self.atoms))

    def described(self) -> dict[str, Any]:
        """Return kind, atoms and unit as plain values."""
        return {"kind": self.kind, "atoms": list(self.atoms), "unit": self.unit}


def parse_coordinate(text: str, kind: str, n_atoms: int) -> Coordinate:
    """Read `0-1`, `0-1-2` or `0-1-2-3`. Raises UserError for anything else."""
    wanted = next(count for count, (name, _) in _KINDS.items() if name == kind)
    parts = text.split("-")
    if len(parts) != wanted or not all(part.isdecimal() for part in parts):
        example = "-".join(map(str, range(wanted)))
        raise UserError(
            f"{text!r} is no {kind}; give the numbers of {wanted} atoms, from 0, such as {example}"
        )
    atoms = tuple(map(int, parts))
    if max(atoms) >= n_atoms or len(set(atoms)) < wanted:
        raise UserError(
            f"the {kind} {text} needs {wanted} different atoms among 0 to {n_atoms - 1}"
        )
    return Coordinate(atoms)


def value_of(atoms: Atoms, coordinate: Coordinate) -> float:
    """Measure a coordinate, Å or degrees; torsions lie between -180 and 180.

    Raises UserError for a torsion about atoms in a straight line.
    """
    numbers = coordinate.atoms
    if coordinate.kind == "bond":
        return float(atoms.get_distance(*numbers))
    if coordinate.kind == "angle":
        return float(atoms.get_angle(*numbers))
    for three in (numbers[:3], numbers[1:]):
        if not _STRAIGHT < atoms.get_angle(*three) < 180.0 - _STRAIGHT:
            raise UserError(
                f"the torsion {coordinate.text} has no angle: the atoms "
                f"{'-'.join(map(str, three))} lie in a straight line"
            )
    return float((atoms.get_dihedral(*numbers) + 180.0) % 360.0 - 180.0)


def set_value(atoms: Atoms, coordinate: Coordinate, value: float, moving: np.ndarray) -> None:
    """Bring a coordinate to a value by moving some atoms, (N,) yes or no, as one piece."""
    numbers = coordinate.atoms
    if coordinate.kind == "bond":
        first, second = atoms.positions[list(numbers)]
        apart = second - first
        atoms.positions[moving] += apart * (value / np.linalg.norm(apart) - 1.0)
    elif coordinate.kind == "angle":
        _bend(atoms, numbers, value, moving)
    else:
        one, two, three, four = numbers
        atoms.set_dihedral(one, two, three, four, value, mask=moving)


def _bend(atoms: Atoms, numbers: tuple[int, ...], value: float, moving: np.ndarray) -> None:
    """Bring an angle to a value, of atoms in a straight line in any plane through it."""
    one, two, three = atoms.positions[list(numbers)]
    first, second = one - two, three - two
    axis = np.cross(first, second)
    if np.linalg.norm(axis) < _NO_PLANE * np.linalg.norm(first) * np.linalg.norm(second):
        axis = np.cross(second, np.eye(3)[np.abs(second).argmin()])
    wider = np.radians(value - atoms.get_angle(*numbers))
    turn = Rotation.from_rotvec(wider * axis / np.linalg.norm(axis))
    atoms.positions[moving] = two + turn.apply(atoms.positions[moving] - two)


def make_whole(atoms: Atoms, coordinate: Coordinate) -> None:
    """Bring the atoms of a coordinate, and what is bonded to them, together in a periodic cell.

    Structures that were wrapped into their cell have bonds through its walls.
    """
    if not atoms.pbc.any():
        return
    bonds, placed = bond_matrix(atoms), np.zeros(len(atoms), dtype=bool)

    def place(number: int, beside: int) -> None:
        apart = atoms.get_distance(beside, number, mic=True, vector=True)
        atoms.positions[number] = atoms.positions[beside] + apart
        placed[number] = True

    placed[coordinate.atoms[0]] = True
    for beside, number in itertools.pairwise(coordinate.atoms):
        place(number, beside)
    reached = list(coordinate.atoms)
    for beside in reached:
        for number in np.flatnonzero(bonds[beside] & ~placed).tolist():
            place(number, beside)
            reached.append(number)


def held(coordinate: Coordinate, value: float) -> FixInternals:
    """Return the constraint that holds a coordinate at a value."""
    numbers = list(coordinate.atoms)
    if coordinate.kind == "bond":
        return FixInternals(bonds=[[value, numbers]])
    if coordinate.kind == "angle":
        return FixInternals(angles_deg=[[value, numbers]])
    return FixInternals(dihedrals_deg=[[value % 360.0, numbers]])


def bond_matrix(atoms: Atoms) -> np.ndarray:
    """Tell which atoms are bonded by their distances: (N, N), yes or no."""
    radii = covalent_radii[atoms.numbers]
    near = atoms.get_all_distances(mic=bool(atoms.pbc.any())) < _BONDED * np.add.outer(radii, radii)
    np.fill_diagonal(near, False)
    return np.asarray(near)


def doubt_about_bonds(atoms: Atoms, coordinate: Coordinate) -> str | None:
    """Say which neighbours of an angle or a torsion are not bonded, and what is bonded instead.

    None where all are; a bond may be scanned between any two atoms.
    """
    if coordinate.kind == "bond":
        return None
    bonds, names = bond_matrix(atoms), [f"{a.symbol} {a.index}" for a in atoms]
    for one, two in itertools.pairwise(coordinate.atoms):
        if not bonds[one, two]:
            near = ", ".join(names[other] for other in np.flatnonzero(bonds[one])) or "nothing"
            return (
                f"the {coordinate.kind} {coordinate.text} goes from {names[one]} to {names[two]}, "
                f"which are not bonded; bonded to {names[one]}: {near}"
            )
    return None


def moving_side(atoms: Atoms, coordinate: Coordinate) -> np.ndarray | None:
    """Return the atoms beyond the coordinate's bond, (N,), which it moves with.

    None where a ring joins both sides, and where the last atom is not the one beyond: of an
    improper torsion all four atoms are bonded to one.
    """
    start, end = coordinate.atoms[-3:-1] if coordinate.kind == "torsion" else coordinate.atoms[-2:]
    bonds = bond_matrix(atoms)
    bonds[start, end] = bonds[end, start] = False
    reached = np.zeros(len(atoms), dtype=bool)
    reached[end] = True
    while True:
        grown = reached | bonds[reached].any(axis=0)
        if (grown == reached).all():
            break
        reached = grown
    before, last = coordinate.atoms[:-2], coordinate.atoms[-1]
    return reached if reached[last] and not reached[[start, *before]].any() else None
