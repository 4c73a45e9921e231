"""Which atom of one structure is which of another: an order that fits places and neighbours.

Atoms of one element are assigned by the Hungarian method, the structure is turned onto the other by
Kabsch's, and both again until nothing changes (P. J. Besl, N. D. McKay, IEEE Trans. Pattern Anal.
14, 239, 1992), from many first orientations. The order that changes the fewest bonds is taken,
among these the one of the smallest distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from molequi.errors import UserError
from molequi.simulation.coordinates import bond_matrix
from molequi.structures.atoms import stated_charge, stated_multiplicity
from molequi.structures.symbols import has_isotopes

_STARTS, _ROUNDS = 80, 25
_NEIGHBOUR = 1.0  # Å², for each neighbour that two atoms do not share
_FORBIDDEN = 1e6
_SAME_CELL = 1e-3  # Å


class Match(NamedTuple):
    """An order of the atoms of B. order: (N,), B[order] lies on A. changed: bonds made or broken.

    distance: Å, root mean square.
    """

    order: np.ndarray
    changed: int
    distance: float


def require_same_formula(a: Atoms, b: Atoms) -> None:
    """Raise UserError where two structures are not of the same atoms."""
    one, other = (atoms.get_chemical_formula() for atoms in (a, b))
    if one != other:
        raise UserError(f"A is {one} and B is {other}; a path needs the same atoms at both ends")


def require_same_state(a: Atoms, b: Atoms) -> None:
    """Raise UserError where two structures are stated or assumed to be of other electrons."""
    charges = [stated_charge(atoms) for atoms in (a, b)]
    spins = [
        stated_multiplicity(atoms, charge.value)
        for atoms, charge in zip((a, b), charges, strict=True)
    ]
    option = " or give --charge"
    for what, (one, other), remedy in (("charge", charges, option), ("multiplicity", spins, "")):
        if one.value != other.value:
            raise UserError(
                f"A has {what} {one.value} ({one.source}) and B {other.value} ({other.source}); a "
                f"path needs the same electrons at both ends: write one {what} into both{remedy}"
            )


def share_isotopes(a: Atoms, b: Atoms) -> str | None:
    """Give both ends the isotopes that one of them names; return which one did, if it was one.

    Raises UserError where both name some, and not the same ones.
    """
    named = [has_isotopes(atoms) for atoms in (a, b)]
    if not any(named) or np.allclose(a.get_masses(), b.get_masses(), rtol=1e-3):
        return None
    if all(named):
        atom = int(np.abs(a.get_masses() - b.get_masses()).argmax())
        raise UserError(
            f"atom {atom} (from 0) has mass {a.get_masses()[atom]:.3f} in A and "
            f"{b.get_masses()[atom]:.3f} in B; name the same isotopes in both, or in one alone"
        )
    source, other = (a, b) if named[0] else (b, a)
    other.set_masses(source.get_masses())
    return "A" if named[0] else "B"


def require_same_cell(a: Atoms, b: Atoms) -> None:
    """Raise UserError where two structures are periodic in other ways."""
    if (a.pbc != b.pbc).any():
        raise UserError(
            f"A is periodic along {a.pbc.tolist()} and B along {b.pbc.tolist()}; a path needs the "
            "same at both ends"
        )
    apart = np.abs(a.cell.array - b.cell.array)[a.pbc]
    if apart.max(initial=0.0) > _SAME_CELL:
        lengths = [", ".join(f"{x:.4g}" for x in atoms.cell.lengths()) for atoms in (a, b)]
        raise UserError(
            f"the cells of A and B are not the same (lengths {lengths[0]} and {lengths[1]} Å, "
            f"vectors up to {apart.max():.2g} Å apart); a path has one cell"
        )


def nearest_images(a: Atoms, b: Atoms) -> np.ndarray:
    """Return the positions of B's atoms, (N, 3), Å, each in the image nearest to A's."""
    ways, _ = find_mic(b.positions - a.positions, a.cell, a.pbc)
    return np.asarray(a.positions + ways)


def first_difference(a: Atoms, b: Atoms) -> str | None:
    """Say where the order of the elements differs; None where it does not."""
    differing = np.flatnonzero(a.numbers != b.numbers)
    if not len(differing):
        return None
    number = int(differing[0])
    return f"atom {number} is {a.symbols[number]} in A and {b.symbols[number]} in B"


def changed_bonds(a: Atoms, b: Atoms) -> int:
    """Count the bonds that one of two structures of the same order has alone."""
    return int((bond_matrix(a) != bond_matrix(b)).sum()) // 2


def match(a: Atoms, b: Atoms) -> Match:
    """Find the order of B's atoms that fits A best; both of the same formula."""
    require_same_formula(a, b)
    places, others = (atoms.positions - atoms.positions.mean(axis=0) for atoms in (a, b))
    penalty = _penalty(a, b)
    turns = Rotation.random(_STARTS, random_state=0).as_matrix()
    found = {}
    for turn in [np.eye(3), *turns]:
        order, distance = _settled(places, others @ turn.T, penalty)
        found[tuple(order.tolist())] = distance
    bonds_a, bonds_b = bond_matrix(a), bond_matrix(b)
    return min(
        (
            Match(
                np.array(order),
                int((bonds_a != bonds_b[np.ix_(order, order)]).sum()) // 2,
                distance,
            )
            for order, distance in found.items()
        ),
        key=lambda one: (one.changed, one.distance),
    )


def laid_upon(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Turn and shift b (N, 3) so that it lies on a, atom by atom, and return it."""
    centre_a, centre_b = a.mean(axis=0), b.mean(axis=0)
    turn = _kabsch(a - centre_a, b - centre_b)
    return np.asarray((b - centre_b) @ turn.T + centre_a)


def _settled(
    places: np.ndarray, others: np.ndarray, penalty: np.ndarray
) -> tuple[np.ndarray, float]:
    """Assign and turn until the order stays; return it with its distance."""
    order = np.zeros(0, dtype=int)
    for _ in range(_ROUNDS):
        squared = np.square(places[:, None] - others[None]).sum(axis=2)
        new = linear_sum_assignment(squared + penalty)[1]
        if np.array_equal(new, order):
            break
        order = new
        others = others @ _kabsch(places, others[order]).T
    left = places - others[order]
    return order, float(np.sqrt(np.square(left).sum(axis=1).mean()))


def _kabsch(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the rotation R for which b R^T lies nearest to a; both centred."""
    u, _, v = np.linalg.svd(a.T @ b)
    return np.asarray(u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))]) @ v)


def _penalty(a: Atoms, b: Atoms) -> np.ndarray:
    """Return what speaks against each pair of atoms, Å²: another element, other neighbours."""
    elements = np.unique(a.numbers)
    counts = [
        bond_matrix(atoms).astype(int) @ (atoms.numbers[:, None] == elements) for atoms in (a, b)
    ]
    differing = np.abs(counts[0][:, None] - counts[1][None]).sum(axis=2)
    is_other = a.numbers[:, None] != b.numbers[None]
    return np.asarray(_NEIGHBOUR * differing + _FORBIDDEN * is_other)
