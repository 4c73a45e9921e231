"""The repulsion of nuclei behind their electrons: a wall at short distance for any model."""

from __future__ import annotations

import math

import torch
from ase import units
from torch import Tensor, nn

from molequi.graphs.graph import AtomGraph, edge_vectors
from molequi.kernels.pair_inputs import COULOMB_CONSTANT
from molequi.nn.nearest import covalent_radii
from molequi.nn.physics.image_pairs import lengths
from molequi.nn.radial import envelope

# The universal screening function phi(x) = sum_k c_k exp(-d_k x), x = r / a,
# a = 0.8854 a0 / (Z_i^0.23 + Z_j^0.23).
_SHARES = 0.18175, 0.50986, 0.28022, 0.02817
_DECAYS = 3.19980, 0.94229, 0.40290, 0.20162
_LENGTH, _POWER = 0.8854 * units.Bohr, 0.23
# Å. Nearer nuclei, coincident ones among them, repel each other as at this distance.
_NEAREST = 1e-2


class Repulsion(nn.Module):
    """E_ij = k Z_i Z_j phi(r / a) u(r) / r, u zero from the sum of covalent radii on.

    Ziegler, Biersack, Littmark, The Stopping and Range of Ions in Solids (1985); u is the envelope
    of `nn.radial`, with two continuous derivatives.

    cutoff: Å, of the graphs' edges, where it may be shorter than the sum of two radii.
    reach: in units of the sum of covalent radii, where u is zero. Single bonds are about 1, and a
    model that learns beside the repulsion accounts for what double bonds feel of it; triple bonds
    are 0.77, so 0.75 leaves every ordinary molecule of a model trained without it as it is.
    """

    def __init__(self, cutoff: float = math.inf, *, reach: float = 1.0) -> None:
        super().__init__()
        self.cutoff, self.reach = cutoff, reach

    def forward(self, graph: AtomGraph) -> Tensor:
        """Return energies (N,), float64, eV: half of each pair's to each of its atoms."""
        return self.along(edge_vectors(graph), graph)

    def along(self, vectors: Tensor, graph: AtomGraph) -> Tensor:
        """Return what `forward` does of edge vectors (E, 3), float64, Å, of the graph's edges."""
        sender, receiver = graph.edge_index
        radii = covalent_radii(graph.positions)[graph.atomic_numbers]
        reach = (self.reach * (radii[sender] + radii[receiver])).clamp(max=self.cutoff)
        near = (vectors.square().sum(dim=1) < reach.square()).nonzero()[:, 0]
        distances = lengths(vectors.index_select(0, near)).clamp(min=_NEAREST)
        nuclei = graph.atomic_numbers.to(torch.float64)
        first, second = nuclei[receiver[near]], nuclei[sender[near]]
        scaled = distances / _LENGTH * (first**_POWER + second**_POWER)
        screening = sum(
            share * torch.exp(-decay * scaled)
            for share, decay in zip(_SHARES, _DECAYS, strict=True)
        )
        pairs = COULOMB_CONSTANT * first * second / distances * screening
        pairs = pairs * envelope(distances / reach[near], 1.0)
        return pairs.new_zeros(graph.n_atoms).index_add(0, receiver[near], 0.5 * pairs)
