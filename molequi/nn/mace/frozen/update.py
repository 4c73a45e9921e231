"""What a frozen MACE layer does at each atom, and its gradient, written out.

Everything in a pass is an array: kernels do all of it, and a view of a tensor costs as much as the
work of a small molecule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from molequi.kernels import NodeRange
from molequi.kernels.contraction_terms import name_of
from molequi.kernels.prepared import NodePolynomials
from molequi.kernels.row_maps import SortedNodes
from molequi.nn.mace.frozen import maps
from molequi.nn.mace.interaction import MaceInteraction

# Makes an array of a pass, (N, rows, C), of so many rows.
Rows = Callable[[int], np.ndarray]


class Atoms(NamedTuple):
    """The atoms that a thread serves: which they are, and the same by species."""

    nodes: NodeRange
    sorted: SortedNodes


def atoms_of(nodes: NodeRange, species: np.ndarray) -> Atoms:
    """Sort the atoms of a range by species; species: (N,) of all."""
    order = np.argsort(species[nodes.first : nodes.last], kind="stable")
    return Atoms(nodes, SortedNodes(order + nodes.first, species))


class UpdateBuffers(NamedTuple):
    """What an update keeps for its gradient; all (N, rows, C).

    messages: as it was given them. mixed: those that are multiplied, the same where no map stands
    between. products: not kept. out: features.
    """

    messages: np.ndarray
    mixed: np.ndarray
    products: np.ndarray
    out: np.ndarray


class Update:
    """h' = L B(A) + S_z h with residual, h' = L B(S_z A) without: the second half of a layer.

    maps_messages: S_z A is computed here, neither without it nor with residual.
    """

    def __init__(self, layer: MaceInteraction, *, maps_messages: bool) -> None:
        self.is_residual, self.maps_messages = layer.is_residual, maps_messages
        self.down = maps.of_irreps(layer.linear_down)
        self.down_back = self.down.transposed
        self.connection = maps.of_species(layer.self_connection)
        self.connection_back = self.connection.transposed
        weights = layer.contraction.tables()
        self.polynomials = NodePolynomials(name_of(layer.contraction.polynomials), weights)
        self.n_messages, self.n_out = layer.contraction.irreps_in.dim, layer.irreps_out.dim

    def buffers(self, rows: Rows) -> UpdateBuffers:
        """Return memory for one pass."""
        messages = rows(self.n_messages)
        mixed = rows(self.n_messages) if self.maps_messages else messages
        return UpdateBuffers(messages, mixed, rows(self.n_out), rows(self.n_out))

    def forward(self, buffers: UpdateBuffers, atoms: Atoms) -> None:
        """Compute the features of these atoms, without what a residual layer adds."""
        if self.maps_messages:
            self.connection.write(buffers.messages, buffers.mixed, atoms.sorted)
        species = atoms.sorted.species
        self.polynomials.write(buffers.mixed, species, buffers.products, atoms.nodes)
        self.down.write(buffers.products, buffers.out, atoms.sorted)

    def backward(
        self,
        g: np.ndarray,
        buffers: UpdateBuffers,
        pull: np.ndarray,
        scratch: np.ndarray,
        atoms: Atoms,
    ) -> None:
        """Write to `pull` (N, rows, C) the gradient of the messages; g: that of the features.

        scratch: of the size of messages, used where these are mapped here.
        """
        self.down_back.write(g, buffers.products, atoms.sorted)
        of_mixed = scratch if self.maps_messages else pull
        inputs = buffers.mixed, buffers.products, atoms.sorted.species
        self.polynomials.write_gradient(*inputs, of_mixed, atoms.nodes)
        if self.maps_messages:
            self.connection_back.write(scratch, pull, atoms.sorted)
