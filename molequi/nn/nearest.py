"""The nearest distances that a network is asked about: below them lies what no data tell."""

from __future__ import annotations

import torch
from ase import data
from torch import Tensor

from molequi.graphs.elements import N_ELEMENTS
from molequi.graphs.graph import AtomGraph
from molequi.runtime.constants import kept_constants

# Of the least distance: the range below it in which d(r) slows down until it stands still.
_RANGE = 0.3


def held(distances: Tensor, least: Tensor) -> Tensor:
    """Return d(r): r from `least` on, 0.85 `least` from 0.7 `least` down, both (E,), Å.

    Two derivatives are continuous. What a network learned of atoms that no molecule has it cannot
    know: products of its features grow there without bound, of either sign. With d(r) in place of
    r it says of nearer pairs what it says at 0.85 `least`, and a repulsion of closed form pushes
    them apart.
    """
    width = _RANGE * least
    x = ((least - distances) / width).clamp(0.0, 1.0)
    cube = x * x * x
    return distances.maximum(least) - width * (x - cube * x * (2.5 - x * (3.0 - x)))


def least_distances(graph: AtomGraph, share: float) -> Tensor:
    """Return `share` of the sum of the covalent radii of each edge's atoms, (E,) float64, Å."""
    radii = covalent_radii(graph.positions)[graph.atomic_numbers]
    sender, receiver = graph.edge_index
    return share * (radii[sender] + radii[receiver])


def covalent_radii(like: Tensor) -> Tensor:
    """Covalent radii by atomic number, Å, float64, where `like` is.

    Cordero et al., Dalton Trans. 2008, 2832.
    """
    return _radii(like.device)


@kept_constants
def _radii(device: torch.device) -> Tensor:
    return torch.tensor(data.covalent_radii[:N_ELEMENTS], dtype=torch.float64, device=device)
