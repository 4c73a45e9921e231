"""Pairs and triples of neighbouring edges, and the angles and dihedrals between them.

What changes under no rotation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Angles(NamedTuple):
    """Ordered pairs of edges that end at one atom.

    edges: (T, 2), places in the list of near edges. centre: (T,), the atom. cosines: (T, 1), of the
    angle between the edges.
    """

    edges: Tensor
    centre: Tensor
    cosines: Tensor

    def to(self, dtype: torch.dtype) -> Angles:
        """Return the angles with cosines of this dtype."""
        return self._replace(cosines=self.cosines.to(dtype))


class Dihedrals(NamedTuple):
    """Edges a and b beside an edge c = (i -> j).

    Chains k-i-j-l (proper), or k and l both at i (improper).
    edges: (Q, 3), a, c, b. centre: (Q,), the atom i. cosines: (Q, 3): cos A, cos B of the angles at
    the ends of c, and sin A sin B cos D of the dihedral D.
    sine: (Q,), sin A sin B sin D, which a mirror turns into its negative. The factors sin A sin B
    make both smooth where three atoms lie on a line and D has no value.
    """

    edges: Tensor
    centre: Tensor
    cosines: Tensor
    sine: Tensor

    def to(self, dtype: torch.dtype) -> Dihedrals:
        """Return the dihedrals with cosines and sines of this dtype."""
        return self._replace(cosines=self.cosines.to(dtype), sine=self.sine.to(dtype))


def find_angles(units: Tensor, receiver: Tensor, n_atoms: int) -> Angles:
    """Pair the edges at each atom; units: (E, 3), unit vectors from the receiver to the sender."""
    first, second = _with_each(receiver, receiver, n_atoms)
    first, second = _where(first != second, first, second)
    cosine = (units.index_select(0, first) * units.index_select(0, second)).sum(dim=1, keepdim=True)
    return Angles(torch.stack([first, second], dim=1), receiver[first], cosine)


def find_dihedrals(
    units: Tensor, edge_index: Tensor, shifts: Tensor, n_atoms: int
) -> tuple[Dihedrals, Dihedrals]:
    """Return the proper and the improper dihedrals around each edge.

    Edges sorted by receiver, shifts: (E, 3), cell counts.
    """
    sender, receiver = edge_index
    axis, first = _with_each(receiver, receiver, n_atoms)
    axis, first = _where(axis != first, axis, first)
    place, last = _with_each(sender[axis], receiver, n_atoms)
    # The edge back along the axis ends at atom i itself and makes no dihedral.
    is_reverse = (sender[last] == receiver[axis[place]]) & (
        shifts[last] == -shifts[axis[place]]
    ).all(dim=1)
    place, last = _where(~is_reverse, place, last)
    proper = _dihedrals(units, receiver, (first[place], axis[place], last), -1.0)
    place, last = _with_each(receiver[axis], receiver, n_atoms)
    place, last = _where((last != axis[place]) & (last != first[place]), place, last)
    return proper, _dihedrals(units, receiver, (first[place], axis[place], last), 1.0)


def _dihedrals(
    units: Tensor, receiver: Tensor, edges: tuple[Tensor, Tensor, Tensor], sign: float
) -> Dihedrals:
    a, c, b = (units.index_select(0, edge) for edge in edges)
    at_first, at_last = (a * c).sum(dim=1), (b * c).sum(dim=1)
    product = (a * b).sum(dim=1) - at_first * at_last
    sine = (c * torch.linalg.cross(a, b, dim=1)).sum(dim=1)
    return Dihedrals(
        torch.stack(edges, dim=1),
        receiver[edges[1]],
        torch.stack([at_first, sign * at_last, product], dim=1),
        sine,
    )


def _with_each(atoms: Tensor, receiver: Tensor, n_atoms: int) -> tuple[Tensor, Tensor]:
    """Pair each place in `atoms` with every edge that ends at that atom; `receiver` is sorted."""
    counts = torch.bincount(receiver, minlength=n_atoms)
    starts = functional.pad(counts.cumsum(0), (1, 0))[:-1]
    many = counts[atoms]
    place = torch.repeat_interleave(many)
    before = torch.repeat_interleave(many.cumsum(0) - many, many)
    return place, starts[atoms[place]] + torch.arange(len(place), device=place.device) - before


def _where(kept: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
    return tuple(value[kept] for value in values)
